"use strict";
// Web Audio, since an audio element would tell by its address which of two sounds it plays.
(() => {
  const at = (id) => document.getElementById(id);
  const given = at("given");
  const { pairs, trials, level } = JSON.parse(given.textContent);
  given.remove();
  const audio = new AudioContext();
  let playing = null;
  let plan = [];
  let answers = [];
  let heard = new Set();
  let started = "";

  const decode = (address) => {
    const bytes = Uint8Array.from(atob(address.split(",")[1]), (c) => c.charCodeAt(0));
    return audio.decodeAudioData(bytes.buffer);
  };

  function stop() {
    if (!playing) return;
    const { source, gain, button } = playing;
    playing = null;
    gain.gain.setTargetAtTime(0, audio.currentTime, 0.005); // a cut would click
    source.stop(audio.currentTime + 0.05);
    button.setAttribute("aria-pressed", "false");
  }

  async function play(sound, button) {
    await audio.resume();
    stop();
    const source = new AudioBufferSourceNode(audio, { buffer: sound });
    const gain = new GainNode(audio);
    source.connect(gain).connect(audio.destination);
    source.onended = () => {
      if (playing?.source === source) stop();
    };
    source.start();
    playing = { source, gain, button };
    button.setAttribute("aria-pressed", "true");
  }

  function show(part) {
    stop();
    for (const id of ["before", "trial", "result"]) at(id).hidden = id !== part;
    const heading = at(part).querySelector("h2");
    heading.focus();
    heading.scrollIntoView({ block: "nearest" });
  }

  const isDream = { a: (t) => t.aIsDream, b: (t) => !t.aIsDream, x: (t) => t.aIsDream === t.xIsA };

  function playLetter(letter) {
    const trial = plan[answers.length];
    const pair = pairs[trial.pair];
    play(isDream[letter](trial) ? pair.dreamSound : pair.originalSound, at(`play-${letter}`));
    heard.add(letter);
    if (heard.size === 3) setAnswerable(true);
  }

  function setAnswerable(isAnswerable) {
    for (const id of ["x-is-a", "x-is-b"]) at(id).disabled = !isAnswerable;
    at("hint").textContent = isAnswerable ? "Play them as often as you like, then answer." : "Play A, B and X first.";
  }

  function nextTrial() {
    stop();
    heard = new Set();
    setAnswerable(false);
    at("number").textContent = `Trial ${answers.length + 1} of ${trials}`;
    at("progress").value = answers.length;
  }

  function begin() {
    plan = drawTrials(pairs.length, trials);
    answers = [];
    started = new Date().toISOString();
    nextTrial();
    show("trial");
  }

  function answer(saysXIsA) {
    answers.push(saysXIsA);
    if (answers.length === trials) return finish();
    nextTrial();
    at("play-a").focus();
  }

  const isRight = (k) => answers[k] === plan[k].xIsA;

  function finish() {
    const right = answers.filter((_, k) => isRight(k)).length;
    const chance = guessingChance(right, trials);
    const p = chance < 0.0001 ? "below 0.0001" : `= ${chance.toFixed(4)}`;
    at("score").textContent = `${right} of ${trials} right, p ${p}`;
    at("heard").hidden = chance > level;
    at("not-heard").hidden = chance <= level;
    at("rows").replaceChildren(...pairs.map(pairRow));
    const csv = csvOf(resultRows());
    at("csv").value = csv;
    at("download").href = `data:text/csv;charset=utf-8,${encodeURIComponent(csv)}`;
    show("result");
  }

  function pairRow({ name }, pair) {
    const here = plan.map((trial, k) => [trial, k]).filter(([trial]) => trial.pair === pair);
    const right = here.filter(([, k]) => isRight(k)).length;
    const row = document.createElement("tr");
    [name, here.length, right].forEach((value, column) => {
      const cell = document.createElement(column ? "td" : "th");
      cell.textContent = value;
      if (column) cell.className = "number";
      else cell.scope = "row";
      row.append(cell);
    });
    return row;
  }

  function resultRows() {
    const kind = (isDreamed) => (isDreamed ? "dream" : "original");
    const header = ["trial", "pair", "a", "b", "x", "answer", "right", "started"];
    return [header, ...plan.map((trial, k) => [
      k + 1, pairs[trial.pair].name, ...["a", "b", "x"].map((s) => kind(isDream[s](trial))),
      answers[k] ? "x is a" : "x is b", isRight(k) ? 1 : 0, started,
    ])];
  }

  function pressed(event) {
    const letter = event.key.toLowerCase();
    const isPlain = !(event.ctrlKey || event.metaKey || event.altKey || event.repeat);
    if (isPlain && !at("trial").hidden && letter in isDream) playLetter(letter);
  }

  async function prepare() {
    for (const pair of pairs) {
      pair.originalSound = await decode(pair.original);
      pair.dreamSound = await decode(pair.dream);
    }
    for (const button of document.querySelectorAll("[data-kind]")) {
      const { pair, kind } = button.dataset;
      button.addEventListener("click", () => play(pairs[pair][`${kind}Sound`], button));
      button.disabled = false;
    }
    for (const letter of ["a", "b", "x"]) at(`play-${letter}`).addEventListener("click", () => playLetter(letter));
    at("x-is-a").addEventListener("click", () => answer(true));
    at("x-is-b").addEventListener("click", () => answer(false));
    at("start").addEventListener("click", begin);
    at("again").addEventListener("click", () => show("before"));
    document.addEventListener("keydown", pressed);
    at("start").disabled = false;
    at("state").textContent = "";
  }

  prepare().catch((error) => {
    at("state").textContent = `This browser cannot play the sounds (${error.message}).`;
  });
})();
