"use strict";
(() => {
  const at = (id) => document.getElementById(id);
  const { swept, axes, measures, entries } = JSON.parse(at("given").textContent);
  const sound = at("sound");
  const chosen = axes.map(() => 0); // the value of each axis that is neither rows nor columns
  let rows = swept > 1 ? 0 : axes.length > 1 ? 1 : -1; // -1: none
  let columns = swept > 1 ? 1 : axes.length > 0 ? 0 : -1;
  let order = { measure: 0, isDescending: true };
  let shown = []; // entries with a picture, in the order of the page
  let enlarged = null;
  let pressed = null; // the button of what is played

  const textOf = (number) => at(`file-${number}`).textContent;
  const watcher = new IntersectionObserver((seen) => {
    for (const { isIntersecting, target } of seen) {
      if (!isIntersecting) continue;
      target.src = textOf(target.dataset.number);
      watcher.unobserve(target);
    }
  }, { rootMargin: "400px" });

  function make(tag, properties = {}, ...children) {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  }

  function format(value) {
    if (value === null) return "–";
    if (typeof value === "string") return value; // infinite
    if (typeof value === "boolean") return value ? "yes" : "no";
    const size = Math.abs(value);
    return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : 2);
  }

  function release() {
    pressed?.setAttribute("aria-pressed", "false");
    pressed = null;
  }

  function stop() {
    sound.pause();
    release();
  }

  function play(entry, kind, button) {
    const isPlaying = pressed === button;
    stop();
    if (isPlaying) return;
    pressed = button;
    button.setAttribute("aria-pressed", "true");
    at("player").hidden = false;
    at("playing").textContent = `${kind}: ${entry.title}, ${settings(entry)}`;
    sound.src = textOf(entry[kind]);
    sound.play().catch((error) => {
      if (error.name !== "AbortError") at("playing").textContent = `This browser cannot play it (${error.message}).`;
    });
  }

  // One player for all: what starts stops what was heard before.
  function playButtons(entry) {
    return ["original", "dream"].map((kind) => {
      const button = make("button", { type: "button", textContent: kind, disabled: entry[kind] === null });
      button.setAttribute("aria-pressed", "false");
      button.setAttribute("aria-label", `Play the ${kind}: ${entry.title}, ${settings(entry)}`);
      button.addEventListener("click", () => play(entry, kind, button));
      return button;
    });
  }

  function settings(entry) {
    const known = axes.map(({ name, values }, a) => [name, values[entry.at[a]]]);
    const untold = known.filter(([, value]) => value !== undefined && !entry.title?.startsWith(`${value} →`));
    return [...untold.map(([name, value]) => `${name} ${value}`), `job ${entry.number}`].join(", ");
  }

  function pictureOf(entry) {
    const [width, height] = entry.size;
    const picture = make("img", { width, height, alt: `Spectrograms: ${entry.title}, ${settings(entry)}` });
    picture.dataset.number = entry.picture;
    watcher.observe(picture);
    const button = make("button", { type: "button", className: "enlarge", title: "Enlarge" }, picture);
    button.addEventListener("click", () => enlarge(entry));
    shown.push(entry);
    return button;
  }

  function card(entry, isListed) {
    const box = make("article", { className: "card" });
    if (entry.text !== undefined) {
      box.append(make("p", { className: entry.hasFailed ? "failed" : "settings", textContent: entry.text }));
      if (isListed) box.prepend(make("p", { className: "settings", textContent: settings(entry) }));
      return box;
    }
    box.append(make("p", {}, make("strong", { textContent: entry.title })));
    if (isListed) box.append(make("p", { className: "settings", textContent: settings(entry) }));
    box.append(entry.picture === null ? make("p", { className: "settings", textContent: "no picture" }) : pictureOf(entry));
    box.append(make("div", { className: "plays" }, ...playButtons(entry)));
    box.append(make("dl", {}, ...entry.values.map((value, m) => make(
      "div", { className: isListed && m === order.measure ? "sorted" : "" },
      make("dt", { textContent: measures[m] }), make("dd", { textContent: format(value) }),
    ))));
    return box;
  }

  function enlarge(entry) {
    enlarged = entry;
    stop();
    at("large-title").textContent = `${entry.title}, ${settings(entry)}`;
    at("large-picture").src = textOf(entry.picture);
    at("large-picture").alt = `Spectrograms: ${entry.title}, ${settings(entry)}`;
    at("large-sounds").replaceChildren(...playButtons(entry));
    if (!at("large").open) at("large").showModal();
  }

  const step = (by) => enlarge(shown[(shown.indexOf(enlarged) + by + shown.length) % shown.length]);

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

  function drawList() {
    const direction = order.isDescending ? -1 : 1;
    const value = (entry) => {
      const found = entry.values?.[order.measure] ?? null;
      return typeof found !== "string" ? found : found === "∞" ? Infinity : -Infinity;
    };
    const sorted = [...entries].sort((one, other) => {
      const [a, b] = [value(one), value(other)];
      if (a === null || b === null) return (a === null) - (b === null); // at the end, whatever the direction
      return a === b ? 0 : direction * (a - b); // of two infinities the difference is no number
    });
    at("list").replaceChildren(...sorted.map((entry) => card(entry, true)));
    const direct = order.isDescending ? "from the largest" : "from the smallest";
    at("state").textContent = measures.length ? `Sorted by ${measures[order.measure]}, ${direct}.` : "";
    [...at("orders").children].forEach((button, m) => {
      button.setAttribute("aria-pressed", String(m === order.measure));
      button.textContent = measures[m] + (m !== order.measure ? "" : order.isDescending ? " ↓" : " ↑");
    });
  }

  function draw() {
    stop();
    watcher.disconnect();
    shown = [];
    if (at("list").hidden) drawGrid();
    else drawList();
  }

  function view(isList) {
    at("list").hidden = at("orders").hidden = !isList;
    at("grid").hidden = at("axes").hidden = isList;
    at("list-view").setAttribute("aria-pressed", String(isList));
    at("grid-view").setAttribute("aria-pressed", String(!isList));
    at(isList ? "grid" : "list").replaceChildren();
    draw();
  }

  function sortBy(measure) {
    order = { measure, isDescending: measure === order.measure && !at("list").hidden ? !order.isDescending : true };
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

  function fit() {
    const wide = at("grid").clientWidth - (rows < 0 ? 40 : 130);
    const each = wide / valuesOf(columns).length - 18;
    at("size").value = Math.max(240, Math.min(700, each));
    resize();
  }

  const resize = () => document.body.style.setProperty("--cell", `${at("size").value}px`);

  function arrange() {
    for (const [id, axis] of [["rows", rows], ["columns", columns]]) {
      at(id).replaceChildren(new Option("–", -1), ...axes.map(({ name }, a) => new Option(name, a, false, a === axis)));
    }
    const others = axes.map((_, a) => a).filter((a) => a !== rows && a !== columns);
    at("rest").replaceChildren(...others.map(chooser));
    fit();
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

  function pressedKey(event) {
    const isTyping = event.target.closest?.("select, input, audio");
    if (isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
    const key = event.key.toLowerCase();
    if (key === "escape") stop();
    else if (at("large").open) {
      if (key === "arrowleft" || key === "arrowright") step(key === "arrowleft" ? -1 : 1);
    } else if (key === "g" || key === "l") view(key === "l");
    else if (/^[1-9]$/.test(key) && key <= measures.length) sortBy(Number(key) - 1);
  }

  at("orders").append(...measures.map((label, m) => {
    const button = make("button", { type: "button", textContent: label });
    button.addEventListener("click", () => sortBy(m));
    return button;
  }));
  for (const id of ["rows", "columns"]) at(id).addEventListener("input", () => take(id, Number(at(id).value)));
  at("size").addEventListener("input", resize);
  at("grid-view").addEventListener("click", () => view(false));
  at("list-view").addEventListener("click", () => view(true));
  at("previous").addEventListener("click", () => step(-1));
  at("next").addEventListener("click", () => step(1));
  at("close").addEventListener("click", () => at("large").close());
  at("large").addEventListener("close", stop);
  sound.addEventListener("pause", () => {
    if (sound.paused) release(); // and not where another one has started since
  });
  document.addEventListener("keydown", pressedKey);
  arrange();
})();
