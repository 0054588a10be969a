// The viewer of one image as it was taken (HR), as it was degraded (LR), and as methods restored it.
// All images arrive once (see pixels.js); whatever a hand does is answered here, on a canvas.
// In a notebook anywidget calls `render`; in a page the same module, inlined, calls `showCases`.

const VIEWS = { side: "Side by side", curtain: "Curtain", flicker: "Flicker" };
const GAP = 6, GRAB = 14;
const HELP = {
  "Point, arrow keys": "values of all images at that place (Shift + arrow: ten pixels)",
  "Drag up, down; B": "brighter, darker (Shift + B: darker)",
  "Drag left, right; C": "contrast (Shift + C: less); A: automatic",
  "Ctrl + wheel, two fingers; + −": "zoom; 0 or double click: whole image; Z: lesion",
  "Shift + drag, one finger": "move the enlarged image",
  "1, 2, 3": "side by side, curtain (drag its line), flicker (space: swap)",
  "D, O": "difference from HR, outline of the lesion",
};
const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

const clamp = (x, low, high) => Math.min(Math.max(x, low), high);
const ratio = () => devicePixelRatio || 1;

function make(tag, properties = {}, ...inside) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...inside);
  return element;
}

// ---- One viewer in an element. `load` gives it a case; what was chosen stays chosen.

function viewer(root) {
  const s = { view: "side", what: "", left: "HR", right: "", ticked: {}, outline: true, line: 0.5,
    window: null, zoom: 1, x: 0, y: 0, at: [0, 0], front: 0, playing: false };
  let about = null, layers, lesion, names, methods, panels = [], cells = [], fields = [];
  let timer, spoken, down, turn = 0;
  const fingers = new Map();
  const picture = make("canvas"), cursor = make("canvas"), where = make("caption"), table = make("table");
  const bars = [1, 2, 3].map(() => make("div", { className: "mv-bar" }));
  const stage = make("div", { className: "mv-stage", tabIndex: 0, role: "application" }, picture, cursor);
  const legend = make("div", { className: "mv-key" }), ramp = make("span", { className: "mv-ramp" });
  const status = make("div", { className: "mv-unseen", role: "status" });
  const values = make("div", { className: "mv-values", tabIndex: 0, role: "region", "aria-label": "Values" }, table);
  const help = make("details", { className: "mv-help" }, make("summary", {}, "Mouse, fingers and keys"),
    make("dl", {}, ...Object.entries(HELP).flatMap(([keys, text]) => [make("dt", {}, keys), make("dd", {}, text)])));
  Object.assign(root, { className: "medsr-viewer", onkeydown: (event) => event.stopPropagation() });
  root.setAttribute("data-lm-suppress-shortcuts", "true");  // keys are the viewer's, not JupyterLab's
  root.setAttribute("role", "group");
  root.replaceChildren(...bars, stage, legend, values, help, status);

  async function load(next, data) {
    const mine = ++turn, unpacked = await unpack(next, data), before = about;
    if (mine !== turn) return;  // another case has come meanwhile
    [about, layers, names] = [next, unpacked, next.images.map((image) => image.name)];
    methods = names.filter((name) => name !== "HR" && name !== "LR");
    lesion = layers.has(key("mask")) ? outlineOf(layers.get(key("mask"))) : null;
    for (const name of names) s.ticked[name] ??= about.shown.includes(name);
    root.setAttribute("aria-label", `Viewer: ${about.title}`);
    if (before?.id !== about.id) {
      whole();
      if (about.enlarge) enlarge();
      s.at = [Math.floor(s.y), Math.floor(s.x)];
    }
    controls();
    layout();
    performance.mark("medsr-viewer");
  }

  const grey = () => s.window ?? about.window;
  const what = () => (about.maps[s.what] ? s.what : "");
  const pair = () => [names.includes(s.left) ? s.left : "HR", names.includes(s.right) ? s.right : names.at(-1)];
  const shown = () => (s.view === "side" ? names.filter((name) => s.ticked[name]) : pair());
  const scaleOf = (name) => (what() && layerOf(name, what()) ? about.maps[what()] : null);

  function layerOf(name, map) {
    if (map === DIFFERENCE && methods.includes(name) && !layers.has(key(name, map))) {
      layers.set(key(name, map), difference(layers.get(key(name)), layers.get(key("HR"))));
    }
    return layers.get(key(name, map));
  }

  // ---- The controls, made anew for each case and each view.

  const press = (text, onclick, more = {}) => make("button", { type: "button", onclick, ...more }, text);

  function choose(text, options, value, set) {
    const list = make("select", { onchange: () => { set(list.value); controls(); layout(); } },
      ...options.map(([name, label]) => make("option", { value: name, selected: name === value }, label)));
    return make("label", {}, text, list);
  }

  function tick(text, checked, set) {
    const box = make("input", { type: "checkbox", checked, onchange: () => { set(box.checked); layout(); } });
    return make("label", {}, box, text);
  }

  function field(text, end) {
    const box = make("input", { type: "number", step: 0.01, onchange: () => {
      const next = grey().map((value, i) => (i === end ? Number(box.value) : value));
      if (next[0] < next[1]) s.window = next;
      draw();
    } });
    fields[end] = box;
    return make("label", {}, text, box);
  }

  function controls() {
    const had = root.querySelector(".mv-bar > :focus-within");
    const options = names.map((name) => [name, name]), maps = Object.entries(about.maps);
    const views = Object.entries(VIEWS).map(([view, text]) =>
      press(text, () => look(view), { "aria-pressed": s.view === view }));
    bars[0].replaceChildren(...methods.length ? views : [],
      ...maps.length ? [choose("Show", [["", "image"], ...maps.map(([name, map]) => [name, map.label])],
        what(), (name) => { s.what = name; })] : [],
      ...lesion ? [tick("Outline of the lesion", s.outline, (on) => { s.outline = on; })] : []);
    bars[1].replaceChildren(...methods.length ? chooser(options) : []);
    bars[2].replaceChildren(field("Black at", 0), field("White at", 1),
      press("Auto", () => KEYS.a(), { title: "From the 1st to the 99th percentile of HR" }),
      press("−", () => zoomBy(1 / 1.5), { "aria-label": "Zoom out" }),
      press("+", () => zoomBy(1.5), { "aria-label": "Zoom in" }),
      press("Whole image", whole), ...lesion ? [press("Zoom on the lesion", enlarge)] : []);
    const same = [...root.querySelectorAll(".mv-bar > *")].find((of) => of.textContent === had?.textContent);
    if (same) (same.querySelector("input, select") ?? same).focus();
    tabulate();
  }

  function chooser(options) {
    if (s.view === "side") return names.map((name) => tick(name, s.ticked[name], (on) => { s.ticked[name] = on; }));
    const [left, right] = s.view === "curtain" ? ["Left", "Right"] : ["First", "Second"], [one, other] = pair();
    const line = make("input", { type: "range", value: 100 * s.line });
    line.oninput = () => { s.line = line.value / 100; draw(); };
    return [choose(left, options, one, (name) => { s.left = name; }),
      choose(right, options, other, (name) => { s.right = name; }),
      s.view === "curtain" ? make("label", {}, "Line", line)
        : press(s.playing ? "Pause" : "Play", () => play(!s.playing))];
  }

  function tabulate() {
    const columns = [["intensity, 0 to 1", ""], ...Object.keys(about.maps).map((name) => [name, name])];
    cells = names.flatMap((name) => columns.map(([, map]) => ({ name, map, cell: make("td") })));
    const row = (name) => make("tr", {}, make("th", { scope: "row" }, methods.length ? name : "image"),
      ...cells.filter((each) => each.name === name).map((each) => each.cell));
    const head = make("tr", {}, make("td"), ...columns.map(([text]) => make("th", { scope: "col" }, text)));
    table.replaceChildren(where, make("thead", {}, head), make("tbody", {}, ...names.map(row)));
  }

  // ---- What a hand does.

  function whole() {
    Object.assign(s, { zoom: 1, x: about.width / 2, y: about.height / 2 });
    draw();
  }

  function enlarge() {
    if (!lesion) return;
    const { x, y } = lesion, side = Math.max(x[1] - x[0], y[1] - y[0]) + 2 * about.margin;
    const zoom = Math.max(1, Math.min(about.width, about.height) / side);
    Object.assign(s, { x: (x[0] + x[1]) / 2, y: (y[0] + y[1]) / 2, zoom });
    draw();
  }

  function look(view) {
    s.view = view;
    play(view === "flicker" && !matchMedia("(prefers-reduced-motion: reduce)").matches);
    layout();
    say(`${VIEWS[view]}: ${shown().join(", ")}`);
  }

  function play(on) {
    s.playing = on;
    clearInterval(timer);
    if (on) timer = setInterval(KEYS.swap, 800);
    controls();
    draw();
  }

  function zoomBy(factor, [y, x] = [s.at[0] + 0.5, s.at[1] + 0.5]) {
    const zoom = clamp(s.zoom * factor, 1, 32), share = 1 - s.zoom / zoom;
    Object.assign(s, { zoom, x: s.x + (x - s.x) * share, y: s.y + (y - s.y) * share });
    draw();
  }

  function windowBy(brighter, wider) {
    const [low, high] = grey(), width = clamp((high - low) * Math.exp(wider), 0.01, 4);
    const middle = (low + high) / 2 - brighter * (high - low);
    s.window = [middle - width / 2, middle + width / 2];
    draw();
  }

  function point(row, column) {
    s.at = [clamp(Math.floor(row), 0, about.height - 1), clamp(Math.floor(column), 0, about.width - 1)];
    mark();
  }

  function step([down_, right], far) {
    point(s.at[0] + far * down_, s.at[1] + far * right);
    const [half, wide] = [about.height / s.zoom / 2, about.width / s.zoom / 2];
    const y = clamp(s.y, s.at[0] + 1 - half, s.at[0] + half), x = clamp(s.x, s.at[1] + 1 - wide, s.at[1] + wide);
    if (x !== s.x || y !== s.y) { Object.assign(s, { x, y }); draw(); }  // the part shown follows
    const read = cells.filter((each) => !each.map).map((each) => `${each.name} ${each.cell.textContent}`);
    say(`${where.textContent}: ${read.join(", ")}`);
  }

  function say(text) {
    clearTimeout(spoken);
    spoken = setTimeout(() => { status.textContent = text; }, 400);
  }

  const KEYS = {
    1: () => look("side"), 2: () => look("curtain"), 3: () => look("flicker"), 0: whole, z: enlarge,
    "+": () => zoomBy(1.5), "=": () => zoomBy(1.5), "-": () => zoomBy(1 / 1.5),
    b: (event) => windowBy(event.shiftKey ? -0.05 : 0.05, 0),
    c: (event) => windowBy(0, event.shiftKey ? 0.1 : -0.1),
    o: () => { s.outline = !s.outline; controls(); draw(); say(`Outline ${s.outline ? "on" : "off"}`); },
    d: () => { s.what = what() ? "" : DIFFERENCE; controls(); draw(); say(what() || "Image"); },
    " ": () => { if (s.view === "flicker") { play(false); KEYS.swap(); } },
    a: () => { s.window = about.auto; draw(); },
    swap: () => { s.front = 1 - s.front; draw(); },
  };
  stage.onkeydown = (event) => {
    const arrow = ARROWS[event.key], act = KEYS[event.key.toLowerCase()];
    if (!about || event.ctrlKey || event.metaKey || event.altKey || !(arrow || act)) return;
    if (arrow) step(arrow, event.shiftKey ? 10 : 1);
    else if (methods.length || !"123d".includes(event.key.toLowerCase())) act(event);
    event.preventDefault();
  };

  function placeOf(event) {
    const box = stage.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
    return { x, y, panel: panels.find((p) => x >= p.x && x < p.x + p.width && y >= p.y && y < p.y + p.height) };
  }
  const pixelAt = ({ x, y, panel: p }) => [s.y + (y - p.y - p.height / 2) / p.k, s.x + (x - p.x - p.width / 2) / p.k];
  const onLine = ({ x, panel }) =>
    s.view === "curtain" && panel && Math.abs(x - panel.x - s.line * panel.width) < GRAB;

  stage.onpointerdown = (event) => {
    const at = placeOf(event), touch = event.pointerType === "touch";
    if (!about || !at.panel) return;
    stage.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, at);
    const pans = touch || event.shiftKey || event.button === 1;
    down = { panel: at.panel, does: onLine(at) ? "line" : pans ? "pan" : "window" };
    if (touch) point(...pixelAt(at));
  };
  stage.onpointermove = (event) => {
    if (!about) return;
    const at = placeOf(event), before = fingers.get(event.pointerId);
    if (!before) {
      stage.style.cursor = onLine(at) ? "ew-resize" : "crosshair";
      if (at.panel) point(...pixelAt(at));
      return;
    }
    const dx = at.x - before.x, dy = at.y - before.y;
    const other = [...fingers].find(([id]) => id !== event.pointerId)?.[1];
    fingers.set(event.pointerId, at);
    if (other) {
      const apart = (finger) => Math.hypot(finger.x - other.x, finger.y - other.y) + 1;
      const middle = { x: (at.x + other.x) / 2, y: (at.y + other.y) / 2, panel: down.panel };
      zoomBy(apart(at) / apart(before), pixelAt(middle));
    } else if (down.does === "window") windowBy(-dy / 300, dx / -200);
    else {
      if (down.does === "line") s.line = clamp((at.x - down.panel.x) / down.panel.width, 0, 1);
      else Object.assign(s, { x: s.x - dx / down.panel.k, y: s.y - dy / down.panel.k });
      draw();
    }
  };
  stage.onpointerup = stage.onpointercancel = (event) => fingers.delete(event.pointerId);
  stage.ondblclick = (event) => {
    const at = placeOf(event);
    if (at.panel && s.zoom > 1) whole();
    else if (at.panel) zoomBy(4, pixelAt(at));
  };
  stage.addEventListener("wheel", (event) => {
    const at = placeOf(event);
    if (!at.panel || !(event.ctrlKey || event.metaKey)) return;  // the page scrolls
    event.preventDefault();
    zoomBy(Math.exp(-clamp(event.deltaY, -50, 50) / 100), pixelAt(at));
  }, { passive: false });

  // ---- Drawing: the pictures when they change, the cursor and the values at every move.

  function layout() {
    const width = stage.clientWidth, phone = width < 500;
    if (!about || !width) return;
    const n = s.view === "side" ? Math.max(1, shown().length) : 1, shape = about.height / about.width;
    const tallest = Math.max(280, Math.min(0.72 * innerHeight, 680));
    const choices = Array.from({ length: phone ? Math.min(2, n) : n }, (_, i) => {
      const columns = i + 1, rows = Math.ceil(n / columns), wide = (width - GAP * i) / columns;
      return { columns, w: Math.floor(phone ? wide : Math.min(wide, (tallest / rows - HEAD) / shape)) };
    });
    const { columns, w } = phone ? choices.at(-1) : choices.reduce((a, b) => (b.w > a.w ? b : a));
    const h = Math.floor(w * shape);
    panels = Array.from({ length: n }, (_, i) => ({ width: w, height: h,
      x: (i % columns) * (w + GAP), y: HEAD + Math.floor(i / columns) * (h + HEAD + GAP) }));
    stage.style.height = `${panels.at(-1).y + h}px`;
    for (const canvas of [picture, cursor]) {
      canvas.width = Math.round(width * ratio());
      canvas.height = Math.round((panels.at(-1).y + h) * ratio());
    }
    draw();
  }

  function draw() {
    if (!about || !panels.length) return;
    const context = picture.getContext("2d"), there = shown(), scale = about.maps[what()];
    const half = [about.width, about.height].map((n) => n / s.zoom / 2);
    s.x = clamp(s.x, half[0], about.width - half[0]);
    s.y = clamp(s.y, half[1], about.height - half[1]);
    for (const panel of panels) panel.k = (panel.width / about.width) * s.zoom;
    stage.style.touchAction = s.zoom > 1 || s.view === "curtain" ? "none" : "pan-y";
    context.setTransform(ratio(), 0, 0, ratio(), 0, 0);
    context.clearRect(0, 0, picture.width, picture.height);
    if (s.view === "side") there.forEach((name, i) => panels[i] && panel(context, panels[i], name));
    else if (s.view === "flicker") panel(context, panels[0], there[s.front]);
    else {
      panel(context, panels[0], there[0], 0, s.line);
      panel(context, panels[0], there[1], s.line, 1);
      const { x, y, width, height } = panels[0];
      bar(context, x + s.line * width - 2, y, 4, height);
    }
    if (about.spacing) ruler(context, panels[0], about.spacing);
    const [low, high] = grey().map((value) => value.toFixed(2));
    fields.forEach((box, end) => { if (box !== document.activeElement) box.value = [low, high][end]; });
    stage.setAttribute("aria-label", `${about.title}. ${VIEWS[s.view]}: ${there.join(", ")}; `
      + `${scale?.label ?? "image"}, black at ${low}, white at ${high}. Arrow keys read values.`);
    ramp.style.background = `linear-gradient(to right, ${(scale?.colours ?? []).map((c) => `rgb(${c})`).join()})`;
    legend.replaceChildren(...scale ? [scale.ends[0], ramp, scale.ends[1]] : []);
    mark();
  }

  function panel(context, { x, y, width, height, k }, name, from = 0, to = 1) {
    const scale = scaleOf(name), tile = painted(layerOf(name, scale ? what() : ""), grey(), scale);
    const image = about.images[names.indexOf(name)], right = from > 0;
    const text = scale ? `${name}: ${what()}` : methods.length ? name : about.title;
    context.save();
    context.beginPath();
    context.rect(x + from * width, y - HEAD, (to - from) * width, height + HEAD);
    context.clip();
    heading(context, x, y, width, { text, right, colour: image.colour, note: s.view === "side" ? image.note : "" });
    context.beginPath();
    context.rect(x, y, width, height);
    context.clip();
    context.translate(x + width / 2 - s.x * k, y + height / 2 - s.y * k);
    context.imageSmoothingEnabled = (k * about.width) / tile.width * ratio() < 2;  // then pixels are squares
    context.drawImage(tile, 0, 0, about.width * k, about.height * k);
    if (s.outline && lesion) outlined(context, lesion.path, k);
    context.restore();
  }

  function mark() {
    const [row, column] = s.at, context = cursor.getContext("2d"), mask = layers.get(key("mask"));
    context.setTransform(ratio(), 0, 0, ratio(), 0, 0);
    context.clearRect(0, 0, cursor.width, cursor.height);
    for (const { x, y, width, height, k } of panels) {
      const cx = x + width / 2 + (column + 0.5 - s.x) * k, cy = y + height / 2 + (row + 0.5 - s.y) * k;
      if (cx < x || cy < y || cx > x + width || cy > y + height) continue;
      for (const side of [-15, 5]) {
        bar(context, cx + side, cy - 1.5, 10, 3);
        bar(context, cx - 1.5, cy + side, 3, 10);
      }
    }
    const side = mask && (mask.raw[row * mask.width + column] > 1 ? ", inside the lesion" : ", outside the lesion");
    where.textContent = `Row ${row + about.corner[0]}, column ${column + about.corner[1]}${side ?? ""}`;
    for (const { cell, name, map } of cells) {
      const at = (layer) => (layer ? valueAt(layer, row, column, about) : NaN), sr = at(layers.get(key(name)));
      const differs = map === DIFFERENCE && methods.includes(name);
      const value = differs ? sr - at(layers.get(key("HR"))) : at(layers.get(key(name, map)));
      const text = Math.abs(value).toFixed(about.bits === 8 ? 2 : 3), sign = value < 0 ? "−" : "+";
      cell.textContent = Number.isNaN(value) ? "" : about.maps[map]?.low < 0 ? sign + text : text;
    }
  }

  const observer = new ResizeObserver(layout);
  observer.observe(stage);
  return { load, close: () => { clearInterval(timer); observer.disconnect(); } };
}

// ---- In a notebook, and in a page.

function render({ model, el }) {
  const { load, close } = viewer(el.appendChild(make("div")));
  const show = () => { if (model.get("about").layers) load(model.get("about"), model.get("data")); };
  model.on("change:about", show);
  show();
  return () => { model.off("change:about", show); close(); };
}

export async function showCases(place) {
  const cases = JSON.parse(place.querySelector("script").textContent);
  const root = make("div"), { load } = viewer(root);
  const show = (about) => load(about, Uint8Array.from(atob(about.data), (letter) => letter.charCodeAt(0)));
  const list = make("select", { onchange: () => show(cases[list.selectedIndex]) },
    ...cases.map((about) => make("option", {}, about.title)));
  place.append(...cases.length > 1 ? [make("label", { className: "mv-cases" }, "Image", list)] : [], root);
  await show(cases[0]);
  place.parentElement.classList.add("mv-live");  // its still picture goes
}

export default { render };
