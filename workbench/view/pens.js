// What the widgets draw with: elements, numbers, colours, two pens that make the same picture on a
// canvas and as SVG, and files. No module of its own: Python puts it in front of those that use it.

const SVG = "http://www.w3.org/2000/svg";
const DOTS = 300 / 96; // of a PNG, for each CSS px: 300 to the inch
const TINY = 2 ** -24; // below it a half-precision number is 0

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

// pressed: of one that stays in or out.
function button(textContent, onclick, title = "", className = "", pressed = null) {
  return make("button", { type: "button", textContent, onclick, title, className,
    ariaPressed: pressed });
}

// What a select offers: [value, words], those without words left out. What was chosen stays.
function offer(select, options) {
  const { value } = select;
  const able = options.filter(([, words]) => words);
  select.replaceChildren(...able.map(([own, words]) => new Option(words, own)));
  select.value = able.some(([own]) => own === value) ? value : able[0][0];
}

// --- numbers and colours

function half(bits) {
  const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
  let size = (1 + fraction / 1024) * 2 ** (exponent - 15);
  if (exponent === 31) size = fraction ? NaN : Infinity;
  if (exponent === 0) size = fraction * TINY;
  return bits & 0x8000 ? -size : size;
}

function halves(bytes) {
  const length = bytes.byteLength / 2;
  return Float32Array.from({ length }, (_, i) => half(bytes.getUint16(2 * i, true)));
}

function number(value) {
  if (Math.abs(value) < 0.001 && value) return value.toExponential(0);
  return String(Number(value.toPrecision(3)));
}

const clip = place => Math.max(-1, Math.min(1, place));

// The colour at a place from -1 to 1 between the first of some stops and the last.
function mix(place, stops) {
  const along = ((place + 1) / 2) * (stops.length - 1);
  const first = Math.min(Math.floor(along), stops.length - 2);
  return stops[first].map((low, i) =>
    Math.round(low + (along - first) * (stops[first + 1][i] - low)));
}

// One pixel a value; colour(value) gives red, green, blue, and opacity where it is not 255.
function bitmap(values, columns, rows, colour) {
  const image = new ImageData(columns, rows);
  image.data.fill(255);
  values.forEach((value, i) => image.data.set(colour(value), 4 * i));
  const canvas = make("canvas", { width: columns, height: rows });
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

// --- pens: the same drawing on a canvas and as SVG

const ruler = document.createElement("canvas").getContext("2d");
const font = (size, bold) =>
  `${bold ? "600 " : ""}${size}px Inter, "Segoe UI", system-ui, sans-serif`;

function widthOf(words, size, bold = false) {
  ruler.font = font(size, bold);
  return ruler.measureText(words).width;
}

// Words that fit into so many px.
function cut(words, room, size, bold) {
  let short = words;
  for (let end = words.length; end && widthOf(short, size, bold) > room; end--) {
    short = `${words.slice(0, end - 1)}…`;
  }
  return short;
}

// Outlines are SVG paths in both. look: fill, stroke, thick (px), dash, alpha.
class Pen {
  rect(x, y, width, height, look) {
    this.path(`M${x} ${y}h${width}v${height}h${-width}z`, look);
  }

  line(points, stroke, thick = 1.5, dash = []) {
    this.path(`M${points.join("L")}`, { stroke, thick, dash });
  }

  dot(x, y, r, look) {
    this.path(`M${x - r} ${y}a${r} ${r} 0 0 1 ${2 * r} 0a${r} ${r} 0 0 1 ${-2 * r} 0z`, look);
  }

  cross(x, y, size, stroke, thick = 2.5) {
    for (const s of [size, -size]) this.line([[x - size, y - s], [x + size, y + s]], stroke, thick);
  }

  arc(from, to, stroke, thick) {
    const [dx, dy] = [to[0] - from[0], to[1] - from[1]];
    const bend = [(from[0] + to[0]) / 2 - 0.2 * dy, (from[1] + to[1]) / 2 + 0.2 * dx];
    this.path(`M${from}Q${bend} ${to}`, { stroke, thick, alpha: 0.75 });
  }

  ramp(x, y, width, height, stops) {
    const places = Array.from({ length: 64 }, (_, i) => (i + 0.5) / 32 - 1);
    this.picture(bitmap(places, 64, 1, place => mix(place, stops)), x, y, width, height, true);
  }
}

class CanvasPen extends Pen {
  constructor(canvas, width, height, ratio) {
    super();
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    this.context = canvas.getContext("2d");
    this.context.scale(ratio, ratio);
    this.context.lineJoin = "round";
  }

  path(d, { fill, stroke, thick = 1, dash = [], alpha = 1 }) {
    const [pen, path] = [this.context, new Path2D(d)];
    Object.assign(pen, { globalAlpha: alpha, lineWidth: thick });
    pen.setLineDash(dash);
    if (fill) pen.fillStyle = fill;
    if (fill) pen.fill(path);
    if (stroke) pen.strokeStyle = stroke;
    if (stroke) pen.stroke(path);
    pen.globalAlpha = 1;
  }

  // halo: colour of an edge that sets the words off from a picture.
  text(x, y, words, { size = 11, align = "left", turn = 0, fill, bold = false, halo }) {
    const pen = this.context;
    pen.save();
    pen.translate(x, y);
    pen.rotate((turn * Math.PI) / 180);
    const look = { font: font(size, bold), textAlign: align, textBaseline: "middle" };
    Object.assign(pen, look, { fillStyle: fill, strokeStyle: halo, lineWidth: 4 });
    if (halo) pen.strokeText(words, 0, 0);
    pen.fillText(words, 0, 0);
    pen.restore();
  }

  picture(source, x, y, width, height, smooth) {
    this.context.imageSmoothingEnabled = smooth;
    this.context.drawImage(source, x, y, width, height);
  }

  // draw() draws from x, y on, and nothing outside of the box.
  frame(x, y, width, height, draw) {
    this.context.save();
    this.context.translate(x, y);
    this.context.clip(new Path2D(`M0 0h${width}v${height}h${-width}z`));
    draw();
    this.context.restore();
  }
}

class SvgPen extends Pen {
  constructor(width, height) {
    super();
    this.root = this.into = document.createElementNS(SVG, "svg");
    const box = { viewBox: `0 0 ${width} ${height}`, width, height, "stroke-linejoin": "round" };
    for (const [key, value] of Object.entries(box)) this.root.setAttribute(key, value);
  }

  add(name, attributes) {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    this.into.appendChild(element);
    return element;
  }

  path(d, { fill = "none", stroke = "none", thick = 1, dash = [], alpha = 1 }) {
    const line = { stroke, "stroke-width": thick, "stroke-dasharray": dash };
    this.add("path", { d, fill, ...line, opacity: alpha });
  }

  text(x, y, words, { size = 11, align = "left", turn = 0, fill, bold = false, halo = "none" }) {
    const anchor = { left: "start", center: "middle", right: "end" }[align];
    const look = { style: `font: ${font(size, bold)}`, fill, dy: "0.35em" };
    const edge = { stroke: halo, "stroke-width": 4, "paint-order": "stroke" };
    const place = { transform: `translate(${x} ${y}) rotate(${turn})`, "text-anchor": anchor };
    this.add("text", { ...place, ...look, ...edge }).textContent = words;
  }

  picture(source, x, y, width, height, smooth) {
    const copy = make("canvas", { width: source.width, height: source.height });
    copy.getContext("2d").drawImage(source, 0, 0);
    const style = smooth ? "" : "image-rendering: pixelated";
    const look = { preserveAspectRatio: "none", style };
    this.add("image", { x, y, width, height, href: copy.toDataURL(), ...look });
  }

  frame(x, y, width, height, draw) {
    const outside = this.into;
    this.into = this.add("svg", { x, y, width, height });
    draw();
    this.into = outside;
  }
}

// A box as large as an area lets it be, in its middle: between its px and those of the area.
function fitted([x0, y0, x1, y1], left, top, width, height) {
  const zoom = Math.min(width / (x1 - x0), height / (y1 - y0));
  const x = left + (width - zoom * (x1 - x0)) / 2;
  const y = top + (height - zoom * (y1 - y0)) / 2;
  return {
    zoom,
    area: [x, y, zoom * (x1 - x0), zoom * (y1 - y0)],
    to: (a, b) => [x + (a - x0) * zoom, y + (b - y0) * zoom],
    from: (a, b) => [(a - x) / zoom + x0, (b - y) / zoom + y0],
  };
}

// --- files

// Of a PNG: 11,811 dots a metre, between length, name and checksum.
const RESOLUTION = Uint8Array.from([
  0, 0, 0, 9, 112, 72, 89, 115, 0, 0, 46, 35, 0, 0, 46, 35, 1,
  120, 165, 63, 118,
]);

// The bytes of a PNG with its resolution said, behind the header.
function withResolution(png) {
  return new Blob([png.slice(0, 33), RESOLUTION, png.slice(33)], { type: "image/png" });
}

function save(name, blob) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

// Quoted; a spreadsheet takes what begins like a formula for text.
const quoted = words => `"${words.replace(/^[=+\-@]/, "'$&").replaceAll('"', '""')}"`;

// CSV of rows of words and numbers.
function sheet(rows) {
  const rounded = value => (Number.isNaN(value) ? "" : Number(value.toPrecision(6)));
  const cell = value => (typeof value === "number" ? rounded(value) : quoted(`${value ?? ""}`));
  return rows.map(row => row.map(cell).join(",")).join("\r\n");
}

const menu = (words, className, ...inside) => make("details", { className },
  make("summary", { textContent: words }), make("div", {}, ...inside));

// draw(pen) as a file.
async function pngOf(width, height, draw) {
  const canvas = make("canvas");
  draw(new CanvasPen(canvas, width, height, DOTS));
  const blob = await new Promise(done => canvas.toBlob(done, "image/png"));
  return withResolution(await blob.arrayBuffer());
}

function svgOf(width, height, draw) {
  const pen = new SvgPen(width, height);
  draw(pen);
  return new Blob([new XMLSerializer().serializeToString(pen.root)], { type: "image/svg+xml" });
}

// A menu of what can be taken away. drawing(): width, height and what draws with a pen; rows(): of
// a table; texts: words on a button -> what it copies.
function takeAway(name, drawing, rows, texts) {
  const copied = make("textarea", { readOnly: true, rows: 3, hidden: true });
  const png = async () => save(`${name}.png`, await pngOf(...drawing()));
  const svg = () => save(`${name}.svg`, svgOf(...drawing()));
  const csv = () => save(`${name}.csv`, new Blob([sheet(rows())], { type: "text/csv" }));
  const done = make("small", { hidden: true, role: "status", textContent: "✓ copied:" });
  const copies = Object.entries(texts).map(([words, text]) => button(words, () => {
    copied.value = text();
    done.hidden = false;
    copied.hidden = false;
    copied.select();
    navigator.clipboard?.writeText(copied.value).catch(() => {});
  }));
  const files = [button("PNG, 300 dpi", png), button("SVG", svg), button("CSV", csv)];
  return menu("save", "save", ...files, ...copies, done, copied);
}

// --- without a kernel

// An anywidget's model in a page without a kernel: what was stored, and whom to tell of changes.
function storedModel(stored) {
  const bytes = words => new DataView(Uint8Array.from(atob(words), c => c.charCodeAt(0)).buffer);
  const values = { ...stored.values, live: false };
  for (const [name, words] of Object.entries(stored.bytes)) values[name] = bytes(words);
  if (stored.attention) values.attention = storedModel(stored.attention);
  const listeners = {};
  return {
    get: name => values[name],
    set(name, value) {
      values[name] = value;
      (listeners[`change:${name}`] || []).forEach(does => does());
    },
    setBytes(name, words) {
      this.set(name, bytes(words));
    },
    save_changes() {},
    on: (event, does) => (listeners[event] ||= []).push(does),
    off: (event, does) => {
      listeners[event] = (listeners[event] || []).filter(other => other !== does);
    },
  };
}
