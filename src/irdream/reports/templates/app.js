"use strict";
(() => {
  const at = (id) => document.getElementById(id);
  const sound = at("sound");

  function say(text, isBad = false) {
    at("state").textContent = text;
    at("state").classList.toggle("bad", isBad);
  }

  function take({ share, page, folder, error }) {
    if (share === null) say("Another dream is being made; this one begins after it");
    else if (share !== undefined) at("progress").value = share;
    if (typeof share === "number") say(share < 1 ? `Dreaming: ${Math.round(100 * share)} %` : "Writing the page");
    if (error !== undefined) say(error, true);
    if (page === undefined) return;
    say(`Done. The page and its sounds stay in ${folder}`);
    at("page").src = page;
    at("page").hidden = false;
  }

  async function dream(event) {
    event.preventDefault();
    const [file] = sound.files;
    const given = { name: file.name };
    for (const name of ["target", "strength", "offset", "seconds"]) given[name] = at(name).value;
    at("go").disabled = true;
    at("page").hidden = true;
    at("progress").hidden = false;
    at("progress").removeAttribute("value");
    say("Reading the sound");
    try {
      const answer = await fetch(`/dream?${new URLSearchParams(given)}`, { method: "POST", body: file });
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "", isDone = false;
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        const lines = (rest + value).split("\n");
        rest = lines.pop();
        for (const told of lines.map((line) => JSON.parse(line))) {
          take(told);
          isDone ||= told.page !== undefined || told.error !== undefined;
        }
      }
      if (!isDone) throw new Error("it was stopped");
    } catch (error) {
      say(`The program does not answer (${error.message}); start it again: make app`, true);
    }
    at("progress").hidden = true;
    at("go").disabled = false;
  }

  at("form").addEventListener("submit", dream);
  for (const kind of ["dragover", "dragleave", "drop"]) {
    at("drop").addEventListener(kind, (event) => {
      event.preventDefault();
      at("drop").classList.toggle("over", kind === "dragover");
      if (kind === "drop" && event.dataTransfer.files.length) sound.files = event.dataTransfer.files;
    });
  }
})();
