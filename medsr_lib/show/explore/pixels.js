// Pixels for viewer.js, which follows this file: from what viewer.py has packed to canvases. A layer
// is an image, a map of a method, or the mask, in whole numbers: 0 stands for no value, 1 to `top`
// for the range from `low` to `high`.

const DIFFERENCE = "SR − HR", HEAD = 24, FONT = "13px system-ui, sans-serif";
const key = (image, map = "") => `${image}\n${map}`;

async function unpack(about, data) {
  let bytes = data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength), start = 0;
  const packed = about.bits === 8, layers = new Map();
  if (packed) {
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    bytes = await new Response(stream).arrayBuffer();
  }
  const numbers = packed ? new Uint8Array(bytes) : new Uint16Array(bytes);
  for (const layer of about.layers) {
    const raw = numbers.subarray(start, (start += layer.height * layer.width));
    if (packed) for (let i = 0; i < raw.length; i++) if (i % layer.width) raw[i] += raw[i - 1];
    layers.set(key(layer.image, layer.map), { ...layer, raw, top: 2 ** about.bits - 1 });
  }
  return layers;
}

function difference(sr, hr) {
  const factor = 32767 / (sr.top - 1), raw = new Uint16Array(sr.raw.length);
  for (let i = 0; i < raw.length; i++) raw[i] = 32768.5 + (sr.raw[i] - hr.raw[i]) * factor;
  return { image: sr.image, height: sr.height, width: sr.width, raw, top: 65535, low: -1, high: 1 };
}

function valueAt(layer, row, column, of) {
  const y = Math.floor((row * layer.height) / of.height);
  const x = Math.floor((column * layer.width) / of.width);
  const raw = layer.raw[y * layer.width + x];
  return raw ? layer.low + ((raw - 1) / (layer.top - 1)) * (layer.high - layer.low) : NaN;
}

// The colour of every whole number; the one made last is kept, since images share their greys.
let last = { stamp: "", table: null };
function colours(layer, low, high, scale) {
  const stamp = [layer.top, layer.low, layer.high, low, high, scale?.label].join();
  if (last.stamp === stamp) return last.table;
  const table = new Uint32Array(layer.top + 1).fill(0xffbdbdbd), width = Math.max(high - low, 1e-6);
  const step = (layer.high - layer.low) / (layer.top - 1) / width, first = (layer.low - low) / width;
  for (let raw = 1; raw <= layer.top; raw++) {
    const share = Math.min(Math.max(first + (raw - 1) * step, 0), 1), grey = Math.round(255 * share);
    if (scale) {
      const [r, g, b] = scale.colours[Math.round(share * (scale.colours.length - 1))];
      table[raw] = 0xff000000 | (b << 16) | (g << 8) | r;
    } else table[raw] = 0xff000000 | (grey * 0x10101);
  }
  last = { stamp, table };
  return table;
}

// Paints a layer on a canvas of its own: grey in a window, or in the colours of a map.
function painted(layer, window, scale) {
  const [low, high] = scale ? [scale.low, scale.high] : window, stamp = `${low} ${high}`;
  if (layer.painted === stamp) return layer.canvas;
  layer.canvas ??= Object.assign(document.createElement("canvas"), { width: layer.width, height: layer.height });
  const context = layer.canvas.getContext("2d");
  layer.pixels ??= context.createImageData(layer.width, layer.height);
  const pixels = new Uint32Array(layer.pixels.data.buffer), table = colours(layer, low, high, scale);
  const { raw } = layer;
  for (let i = 0; i < pixels.length; i++) pixels[i] = table[raw[i]];
  context.putImageData(layer.pixels, 0, 0);
  layer.painted = stamp;
  return layer.canvas;
}

// The outline of a mask along the edges of its pixels, and where it lies; null where it is empty.
function outlineOf({ raw, width, height }) {
  const path = new Path2D(), xs = [], ys = [];
  const inside = (x, y) => x >= 0 && y >= 0 && x < width && y < height && raw[y * width + x] > 1;
  for (let y = 0; y <= height; y++) for (let x = 0; x <= width; x++) {
    const here = inside(x, y);
    if (here) { xs.push(x); ys.push(y); }
    if (here !== inside(x, y - 1)) { path.moveTo(x, y); path.lineTo(x + 1, y); }
    if (here !== inside(x - 1, y)) { path.moveTo(x, y); path.lineTo(x, y + 1); }
  }
  const ends = (of) => of.reduce(([low, high], n) => [Math.min(low, n), Math.max(high, n + 1)], [Infinity, 0]);
  return xs.length ? { path, x: ends(xs), y: ends(ys) } : null;
}

// ---- What is drawn over and above the pixels: white on black, so that it is seen on both.

function bar(context, x, y, width, height) {
  const level = width > height ? 1 : 0;
  for (const [edge, tone] of [[0, "#000"], [1, "#fff"]]) {
    context.fillStyle = tone;
    context.fillRect(x + edge, y + edge * level, width - 2 * edge, height - 2 * edge * level);
  }
}

function ruler(context, { x, y, width, height, k }, spacing) {
  const mm = [50, 20, 10, 5, 2, 1].find((n) => (n / spacing) * k < width / 3) ?? 1;
  bar(context, x + 10, y + height - 14, (mm / spacing) * k, 5);
  Object.assign(context, { font: `bold ${FONT}`, textAlign: "left", textBaseline: "middle", lineWidth: 3 });
  Object.assign(context, { strokeStyle: "#000", fillStyle: "#fff" });
  context.strokeText(`${mm} mm`, x + 10, y + height - 24);
  context.fillText(`${mm} mm`, x + 10, y + height - 24);
}

function heading(context, x, y, width, { text, note, colour, right }) {
  context.fillStyle = "#1d2328";
  context.fillRect(x, y - HEAD, width, HEAD);
  context.fillStyle = colour;
  context.fillRect(right ? x + width - 6 : x, y - HEAD, 6, HEAD);
  Object.assign(context, { fillStyle: "#fff", textBaseline: "middle", textAlign: right ? "right" : "left" });
  context.font = `bold ${FONT}`;
  context.fillText(text, right ? x + width - 12 : x + 12, y - HEAD / 2);
  const used = context.measureText(text).width + 24;
  context.font = FONT;
  if (note && used + context.measureText(note).width < width) context.fillText(note, x + used, y - HEAD / 2);
}

function outlined(context, path, k) {
  context.save();
  context.scale(k, k);
  context.lineCap = "square";
  for (const [wide, tone] of [[3.5, "#000"], [1.6, "#ffc800"]]) {
    context.lineWidth = wide / k;
    context.strokeStyle = tone;
    context.stroke(path);
  }
  context.restore();
}
