"use strict";
(() => {
  const given = JSON.parse(at("given").textContent);
  const { swept, axes, measures, entries } = given;
  const dialog = at("large"); // of a sweep's page; on a run's the player stands above the list
  const { state } = player;
  const chosen = axes.map(() => 0); // the value of each axis that is neither rows nor columns
  let rows = swept > 1 ? 0 : axes.length > 1 ? 1 : -1; // -1: none
  let columns = swept > 1 ? 1 : axes.length > 0 ? 0 : -1;
  let order = { measure: Math.max(0, measures.indexOf(given.order)), isDescending: true };
  let isList = !given.isSweep;
  let shown = []; // dreams in the order of the page

  // Pictures are drawn of the sounds when they come into sight.
  const watcher = new IntersectionObserver((seen) => {
    for (const { isIntersecting, target } of seen) {
      if (!isIntersecting) continue;
      watcher.unobserve(target);
      const voice = target.entry.voices.find(({ name }) => name === MAIN);
      player.decode(voice.file, player.rateOf(target.entry)).then((buffer) => {
        const levels = spectrogram(buffer, 240);
        paintLevels(target, levels, loudestOf(levels));
        target.dataset.drawn = "yes";
      }, complain);
    }
  }, { rootMargin: "200px" });

  const complain = (error) => { at("trouble").textContent = `This browser cannot play it (${error.message}).`; };

  function format(value) {
    if (value === null) return "–";
    if (typeof value === "string") return value; // infinite
    if (typeof value === "boolean") return value ? "yes" : "no";
    const size = Math.abs(value);
    return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : 2);
  }

  function settings(entry) {
    if (!given.isSweep) return entry.said ?? "";
    const known = axes.map(({ name, values }, a) => [name, values[entry.at[a]]]);
    const untold = known.filter(([, value]) => value !== undefined && !entry.title?.startsWith(`${value} `));
    return [...untold.map(([name, value]) => `${name} ${value}`), `job ${entry.number}`].join(", ");
  }
  const fullTitle = (entry) => [entry.title, settings(entry)].filter(Boolean).join(", ");

  // The player ------------------------------------------------------------------------------

  function voiceButton(entry, name, text) {
    const button = make("button", { type: "button", textContent: text, disabled: !player.voicesOf(entry).includes(name) });
    button.dataset.voice = name;
    return button;
  }

  function drawAxes(plot, entry) {
    plot.querySelectorAll(".tick").forEach((tick) => tick.remove());
    const length = player.seconds();
    const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600].find((one) => length / one <= 5) ?? 1200;
    for (let second = 0; second <= length * 1.001; second += step) {
      const text = `${Number(second.toFixed(1))}${second ? "" : " s"}`;
      plot.append(make("span", { className: "tick time", textContent: text, style: `left: ${(100 * second) / length}%` }));
    }
    for (const hz of [100, 300, 1000, 3000, 8000].filter((one) => one < 0.9 * (player.rateOf(entry) / 2))) {
      const text = hz === 100 ? "100 Hz" : `${hz}`;
      plot.append(make("span", { className: "tick hz", textContent: text, style: `bottom: ${100 * heightOf(hz, player.rateOf(entry))}%` }));
    }
  }

  function drawPictures(entry) {
    if (state.entry !== entry) return;
    const buffers = Object.fromEntries(entry.voices.filter(({ file }) => file !== null).map(({ name, file }) => [name, player.buffers.get(file)]));
    const columns = Math.min(480, Math.max(60, Math.round(player.seconds() * 160)));
    const seen = Object.fromEntries([FIRST, MAIN].filter((name) => buffers[name]).map((name) => [name, spectrogram(buffers[name], columns)]));
    const loudest = loudestOf(seen[FIRST] ?? seen[MAIN]);
    for (const panel of document.querySelectorAll(".panel")) {
      const name = panel.dataset.voice;
      panel.hidden = !player.voicesOf(entry).includes(name);
      if (panel.hidden) continue;
      const canvas = panel.querySelector("canvas");
      if (name === THIRD && entry.map) paintMap(canvas, seen[FIRST], loudest, entry.map);
      else if (name === THIRD) paintChange(canvas, changeOf(seen[FIRST], seen[MAIN], loudest));
      else paintLevels(canvas, seen[name], loudest);
      drawAxes(panel.querySelector(".plot"), entry);
    }
    for (const canvas of at("strip").querySelectorAll("canvas")) {
      paintLevels(canvas, seen[canvas.dataset.of] ?? spectrogram(buffers[canvas.dataset.of], 160), loudest);
    }
    at("player").dataset.drawn = entry.title;
    move();
  }

  function drawStrip(entry) {
    const steps = entry.voices.filter(({ steps }) => steps !== null).sort((one, other) => one.steps - other.steps);
    at("way").hidden = at("way-keys").hidden = steps.length < 3;
    at("strip").replaceChildren(...(steps.length < 3 ? [] : steps).map(({ name, steps: count, told }) => {
      const canvas = make("canvas");
      canvas.dataset.of = name;
      const text = told ?? (name === FIRST ? name : `${count} ${count === 1 ? "step" : "steps"}`);
      const button = make("button", { type: "button" }, canvas, make("span", { textContent: text }));
      button.dataset.voice = name;
      return button;
    }));
  }

  function bar(share, kind) {
    return make("span", { className: `bar-of ${kind}`, style: `width: ${Math.max(0.4, 100 * share)}%` });
  }

  function networkTable({ name, rows: found, more }) {
    const body = found.map(([label, isTarget, before, after]) => make("tr", { className: isTarget ? "target" : "" },
      make("th", { scope: "row", textContent: label }),
      make("td", { className: "bars" }, bar(before, "before"), bar(after, "after")),
      make("td", { className: "number", textContent: `${before.toFixed(2)} → ${after.toFixed(2)}` })));
    const head = make("tr", {}, ...["instrument", "", "before → after"].map((textContent) => make("th", { scope: "col", textContent })));
    const table = make("table", { className: "network" }, make("caption", {}, make("strong", { textContent: name }), more ? ` (the highest ${found.length}; ${more} more)` : ""));
    table.append(make("thead", { className: "visually-hidden" }, head), make("tbody", {}, ...body));
    return table;
  }

  function drawFacts(entry) {
    at("networks").replaceChildren(...(entry.networks.length ? [make("h3", { textContent: "What the networks predict" })] : []), ...entry.networks.map(networkTable));
    const told = entry.voices.filter(({ name }) => given.voices.includes(name));
    const head = make("tr", {}, ...["sound", `level (${entry.unit})`, "peak (dBFS)", "gain (dB)"].map((textContent, k) => make("th", { scope: "col", className: k ? "number" : "", textContent })));
    const body = told.map(({ name, level, peak, gain }) => make("tr", {}, make("th", { scope: "row", textContent: name }),
      ...[level, peak, gain].map((value) => make("td", { className: "number", textContent: value === null ? "silent" : (Math.round(10 * value) / 10 || 0).toFixed(1).replace("-", "−") }))));
    at("levels").replaceChildren(make("thead", {}, head), make("tbody", {}, ...body));
    at("level-note").textContent = entry.levelNote;
  }

  // Insertion and deletion, each with its areas: p over the share of bins that is heard, or silenced.
  function curvesChart(curves, which, title, done) {
    const [x, y] = [(share) => 46 + 250 * share, (p) => 126 - 112 * p];
    const axes = [0, 0.5, 1].map((at) => `<path d="M46 ${y(at)}H296"/><text x="40" y="${y(at) + 4}" text-anchor="end">${at}</text><text x="${x(at)}" y="142" text-anchor="middle">${100 * at}%</text>`);
    const lines = curves.map(([, shares, ...both], k) => `<polyline class="line-${k}" points="${shares.map((share, i) => `${x(share)},${y(both[which][i])}`).join(" ")}"/>`);
    const area = ([, shares, ...both]) => shares.slice(1).reduce((sum, share, i) => sum + ((share - shares[i]) * (both[which][i] + both[which][i + 1])) / 2, 0);
    const keys = curves.map((one, k) => make("span", {}, make("i", { className: `line-${k}` }), `${one[0]} ${area(one).toFixed(2)}`));
    const plot = make("div", { innerHTML: `<svg viewBox="0 0 316 162" role="img" aria-label="${title}">${axes.join("")}<text transform="translate(12 70) rotate(-90)" text-anchor="middle">probability</text><text x="171" y="158" text-anchor="middle">bins ${done}, the most relevant first</text>${lines.reverse().join("")}</svg>` });
    return make("figure", {}, make("figcaption", {}, make("strong", { textContent: title }), ...keys), plot);
  }

  function drawCurves(box, curves, ofMean) {
    const told = "Probability of the target while more and more of the sound is heard, or silenced, from the most relevant bins on; the numbers are areas. Insertion: higher is better; deletion: lower. A map that is no better than random found nothing, one that is no better than edges found where the sound is.";
    box?.replaceChildren(...(curves?.length ? [
      make("h3", { textContent: `What is kept and what is lost${ofMean}` }),
      curvesChart(curves, 0, "Insertion", "heard"), curvesChart(curves, 1, "Deletion", "silenced"),
      make("p", { className: "note", textContent: told }),
    ] : []));
  }

  function open(entry) {
    at("trouble").textContent = entry.trouble ?? "";
    at("player-title").textContent = entry.title;
    at("player-settings").textContent = settings(entry);
    at("voices").replaceChildren(...given.voices.map((name) => voiceButton(entry, name, name[0].toUpperCase() + name.slice(1))));
    drawStrip(entry);
    drawFacts(entry);
    at("picture").replaceChildren(...(entry.picture ? [make("img", { src: entry.picture, alt: "Spectrograms and maps" })] : []));
    drawCurves(at("curves"), entry.curves, "");
    const loaded = player.load(entry);
    loaded.then(() => drawPictures(entry)).catch(complain);
    refresh();
  }

  function show(entry) {
    open(entry);
    if (dialog && !dialog.open) dialog.showModal();
    if (!dialog) at("player").scrollIntoView({ block: "start" });
  }

  function step(by) {
    const dreams = shown.filter(({ voices }) => voices.length);
    if (dreams.length) open(dreams[(dreams.indexOf(state.entry) + by + dreams.length) % dreams.length]);
  }

  function along(by) {
    const way = [...at("strip").querySelectorAll("[data-voice]")].map((button) => button.dataset.voice);
    const next = way[way.indexOf(state.voice) + by];
    if (next) player.choose(next);
  }

  // Buttons and cursor follow the player.
  function refresh() {
    at("play").textContent = state.isPlaying ? "❚❚ Pause" : "▶ Play";
    for (const element of document.querySelectorAll("[data-voice]")) {
      const card = element.closest(".card");
      const isHeard = element.dataset.voice === state.voice;
      const isPressed = card ? isHeard && state.isPlaying && card.entry === state.entry : isHeard;
      if (element.tagName === "BUTTON") element.setAttribute("aria-pressed", String(isPressed));
      else element.classList.toggle("heard", isPressed);
    }
    for (const card of document.querySelectorAll(".card")) card.classList.toggle("open", !given.isSweep && card.entry === state.entry);
    move();
    if (state.isPlaying) follow();
  }

  let isFollowing = false;
  function follow() {
    if (isFollowing) return;
    isFollowing = true;
    const frame = () => {
      move();
      isFollowing = state.isPlaying;
      if (isFollowing) requestAnimationFrame(frame);
    };
    frame();
  }

  function move() {
    const length = player.seconds();
    const now = player.position();
    at("player").style.setProperty("--at", length ? now / length : 0);
    if (document.activeElement !== at("position") || state.isPlaying) at("position").value = length ? now / length : 0;
    at("position").setAttribute("aria-valuetext", `${now.toFixed(1)} seconds`);
    at("time").textContent = `${now.toFixed(1)} / ${length.toFixed(1)} s`;
  }

  // The list and the grid -------------------------------------------------------------------

  function card(entry, isListed) {
    const box = make("article", { className: "card", entry });
    if (entry.text !== undefined) {
      box.append(make("p", { className: entry.hasFailed ? "failed" : "settings", textContent: entry.text }));
      if (isListed) box.prepend(make("p", { className: "settings", textContent: settings(entry) }));
      return box;
    }
    shown.push(entry);
    box.append(make("p", {}, make("strong", { textContent: entry.title })));
    if (isListed && given.isSweep) box.append(make("p", { className: "settings", textContent: settings(entry) }));
    if (player.voicesOf(entry).includes(MAIN)) {
      const picture = make("canvas", { entry, width: 240, height: ROWS });
      const button = make("button", { type: "button", className: "enlarge", title: "Open in the player" }, picture);
      button.setAttribute("aria-label", `Open in the player: ${fullTitle(entry)}`);
      button.addEventListener("click", () => show(entry));
      watcher.observe(picture);
      box.append(button);
    } else box.append(make("p", { className: "settings", textContent: "no sound" }));
    const plays = [FIRST, MAIN].map((name) => {
      const button = voiceButton(entry, name, name);
      button.setAttribute("aria-label", `Play the ${name}: ${fullTitle(entry)}`);
      return button;
    });
    box.append(make("div", { className: "plays joined" }, ...plays));
    box.append(make("dl", {}, ...entry.values.map((value, m) => make(
      "div", { className: isListed && m === order.measure ? "sorted" : "" },
      make("dt", { textContent: measures[m] }), make("dd", { textContent: format(value) }),
    ))));
    return box;
  }

  // An entry without a value of an axis belongs to all of them.
  const isAt = (entry, axis, value) => axis < 0 || entry.at[axis] === null || entry.at[axis] === value;
  const valuesOf = (axis) => (axis < 0 ? [null] : axes[axis].values.map((_, value) => value));

  function header(axis, value, scope) {
    const name = make("small", { textContent: axes[axis]?.name.split(".").pop() ?? "" });
    return make("th", { scope }, name, axis < 0 ? "" : axes[axis].values[value]);
  }

  function drawGrid() {
    const here = entries.filter((entry) => axes.every((_, a) => a === rows || a === columns || isAt(entry, a, chosen[a])));
    const head = make("tr", {}, make("td"), ...valuesOf(columns).map((value) => header(columns, value, "col")));
    const body = valuesOf(rows).map((row) => make("tr", {}, header(rows, row, "row"), ...valuesOf(columns).map((column) => {
      const found = here.filter((entry) => isAt(entry, rows, row) && isAt(entry, columns, column));
      return make("td", {}, ...(found.length ? found.map((entry) => card(entry, false)) : ["–"]));
    })));
    at("grid").replaceChildren(make("table", {}, make("thead", {}, head), make("tbody", {}, ...body)));
    at("state").textContent = "";
  }

  function sorted() {
    const direction = order.isDescending ? -1 : 1;
    const value = (entry) => {
      const found = entry.values?.[order.measure] ?? null;
      return typeof found !== "string" ? found : found === "∞" ? Infinity : -Infinity;
    };
    return [...entries].sort((one, other) => {
      const [a, b] = [value(one), value(other)];
      if (a === null || b === null) return (a === null) - (b === null); // at the end, whatever the direction
      return a === b ? 0 : direction * (a - b); // of two infinities the difference is no number
    });
  }

  function drawList() {
    at("list").replaceChildren(...sorted().map((entry) => card(entry, true)));
    const direct = order.isDescending ? "from the largest" : "from the smallest";
    at("state").textContent = measures.length ? `Sorted by ${measures[order.measure]}, ${direct}.` : "";
    [...at("orders").children].forEach((button, m) => {
      button.setAttribute("aria-pressed", String(m === order.measure));
      button.textContent = measures[m] + (m !== order.measure ? "" : order.isDescending ? " ↓" : " ↑");
    });
  }

  function draw() {
    watcher.disconnect();
    shown = [];
    if (!at("list")) shown = entries; // a single dream
    else if (isList) drawList();
    else drawGrid();
    refresh();
  }

  function view(asList) {
    if (!given.isSweep) return draw();
    isList = asList;
    at("list").hidden = at("orders").hidden = !isList;
    at("grid").hidden = at("axes").hidden = isList;
    at("list-view").setAttribute("aria-pressed", String(isList));
    at("grid-view").setAttribute("aria-pressed", String(!isList));
    at(isList ? "grid" : "list").replaceChildren();
    draw();
  }

  function sortBy(measure) {
    order = { measure, isDescending: measure === order.measure && isList ? !order.isDescending : true };
    view(true);
  }

  // A slider where there is an order and more than two values, else a select.
  function chooser(axis) {
    const { name, values, isNumeric } = axes[axis];
    const now = make("output", { textContent: values[chosen[axis]] });
    const isSlider = isNumeric && values.length > 2;
    const control = isSlider
      ? make("input", { type: "range", min: 0, max: values.length - 1, value: chosen[axis] })
      : make("select", {}, ...values.map((value, k) => new Option(value, k, false, k === chosen[axis])));
    control.dataset.axis = axis;
    control.addEventListener("input", () => {
      chosen[axis] = Number(control.value);
      now.textContent = values[chosen[axis]];
      control.setAttribute("aria-valuetext", now.textContent);
      draw();
    });
    return make("label", {}, name, control, ...(isSlider ? [now] : []));
  }

  const resize = () => document.body.style.setProperty("--cell", `${at("size").value}px`);

  function arrange() {
    for (const [id, axis] of [["rows", rows], ["columns", columns]]) {
      at(id).replaceChildren(new Option("–", -1), ...axes.map(({ name }, a) => new Option(name, a, false, a === axis)));
    }
    at("rest").replaceChildren(...axes.map((_, a) => a).filter((a) => a !== rows && a !== columns).map(chooser));
    const wide = at("grid").clientWidth - (rows < 0 ? 40 : 130);
    at("size").value = Math.max(240, Math.min(700, wide / valuesOf(columns).length - 18));
    resize();
    draw();
  }

  // Who chooses the other axis swaps the two.
  function take(id, axis) {
    const before = { rows, columns };
    if (id === "rows") rows = axis;
    else columns = axis;
    if (rows === columns && axis >= 0) {
      if (id === "rows") columns = before.rows;
      else rows = before.columns;
    }
    arrange();
  }

  // Events ----------------------------------------------------------------------------------

  const actions = {
    " ": () => player.toggle(),
    x: () => player.choose(state.voice === FIRST ? MAIN : FIRST),
    a: () => player.choose(FIRST), b: () => player.choose(MAIN), d: () => player.choose(THIRD),
    arrowleft: () => along(-1), arrowright: () => along(1), p: () => step(-1), n: () => step(1),
  };

  function pressedKey(event) {
    const key = event.key.toLowerCase();
    const isTyping = event.target.closest?.("select, textarea, input:not([type=checkbox])");
    if (event.ctrlKey || event.metaKey || event.altKey || (isTyping && key !== "x")) return;
    const isOther = event.target.closest?.("button, a, input") && !event.target.closest("#play, #voices, #strip");
    if (key === "escape") player.pause();
    else if (key in actions && state.entry && !(key === " " && isOther)) {
      event.preventDefault();
      actions[key]();
    } else if (given.isSweep && !dialog.open && (key === "g" || key === "l")) view(key === "l");
    else if (/^[1-9]$/.test(key) && key <= measures.length && !dialog?.open && at("orders")) sortBy(Number(key) - 1);
  }

  function clicked(event) {
    const voice = event.target.closest("button[data-voice]");
    if (voice) {
      const box = voice.closest(".card");
      if (box && voice.getAttribute("aria-pressed") === "true") return player.pause();
      if (box && box.entry !== state.entry) open(box.entry);
      player.choose(voice.dataset.voice);
    }
    const copy = event.target.closest(".copy");
    if (copy) {
      const code = copy.previousElementSibling;
      getSelection().selectAllChildren(code); // a sandboxed frame may not write to the clipboard
      navigator.clipboard?.writeText(code.textContent).then(() => { copy.textContent = "Copied"; }, () => { copy.textContent = "Selected"; });
    }
  }

  function seekTo(event) {
    const panel = event.target.closest(".panel");
    const box = panel?.querySelector(".plot").getBoundingClientRect();
    if (!box) return;
    player.seek(((event.clientX - box.left) / box.width) * player.seconds());
    player.choose(panel.dataset.voice);
  }

  at("orders")?.append(...measures.map((label, m) => {
    const button = make("button", { type: "button", textContent: label });
    button.addEventListener("click", () => sortBy(m));
    return button;
  }));
  player.onChange(refresh);
  document.addEventListener("keydown", pressedKey);
  document.addEventListener("keyup", (event) => {
    if (event.key === " " && event.target.closest?.("#play, #voices, #strip")) event.preventDefault(); // or it would click
  });
  document.addEventListener("click", clicked);
  at("play").addEventListener("click", () => player.toggle());
  at("previous").addEventListener("click", () => step(-1));
  at("next").addEventListener("click", () => step(1));
  at("position").addEventListener("input", () => player.seek(at("position").value * player.seconds()));
  at("repeat").addEventListener("change", () => player.seek(player.position()));
  document.querySelectorAll(".panel .plot").forEach((plot) => plot.addEventListener("click", seekTo));
  if (given.isSweep) {
    for (const id of ["rows", "columns"]) at(id).addEventListener("input", () => take(id, Number(at(id).value)));
    at("size").addEventListener("input", resize);
    at("grid-view").addEventListener("click", () => view(false));
    at("list-view").addEventListener("click", () => view(true));
    at("close").addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => player.pause());
    at("list").hidden = at("orders").hidden = true;
    arrange();
  } else {
    draw();
    at("previous").hidden = at("next").hidden = entries.length < 2;
    drawCurves(at("mean-curves"), given.curves, ", in the mean of the maps");
    const heard = sorted().filter(({ voices }) => voices.length); // first one that becomes something else, step by step
    open(heard.find(({ isOwn, voices }) => !isOwn && voices.length > 3) ?? heard[0] ?? entries[0]);
  }
})();
