// An explorer: controls, one sentence that answers them, and panels or attention maps in tabs. What
// the browser can show by itself it shows; for the rest it asks the kernel, or looks the answer up
// among those stored in a page. Words from data only ever become text.

const LOCAL = "nothing"; // what a control needs: nothing, drawing, model

class Explorer {
  constructor(model, el, child) {
    this.model = model;
    this.child = child;
    this.root = make("div", { className: "workbench-view workbench-explorer" });
    if (model.get("theme")) this.root.dataset.theme = model.get("theme");
    this.undo = [];
    this.bitmaps = [];
    this.asked = 0;
    this.build();
    el.appendChild(this.root);
    this.readPictures();
    this.read();
    this.listen();
  }

  get state() {
    return this.model.get("state");
  }

  build() {
    this.verdict = make("p", { className: "verdict" });
    this.verdict.setAttribute("role", "status");
    this.said = make("p", { className: "said" });
    this.tabs = make("div", { className: "tabs" });
    this.tabs.setAttribute("role", "tablist");
    this.body = make("div", { className: "panels" });
    this.files = takeAway(this.model.get("name"), {
      drawing: () => this.drawing(),
      table: () => this.table(),
      texts: { "copy as code": () => this.code(), "copy state": () => JSON.stringify(this.state) },
    });
    this.inputs = {};
    const own = name => this.model.get("controls").filter(name).map(c => this.control(c));
    const sight = own(c => !c.more && c.kind !== "frame");
    const rare = own(c => c.more);
    const more = make("details", {}, make("summary", { textContent: "more" }));
    more.append(make("div", {}, ...rare));
    this.scrubber = make("div", { className: "bar" }, ...own(c => c.kind === "frame"));
    this.bar = make("div", { className: "bar" }, ...sight, ...(rare.length ? [more] : []));
    this.bar.append(this.files);
    const place = make("div", {});
    this.root.append(this.bar, this.verdict, this.tabs, this.body, place, this.scrubber, this.said);
    this.place = place;
    if (!this.child) return;
    this.attention = new View(this.child, place);
    this.attention.onFocus = (axis, focus) => this.focused(axis, focus);
    if (!this.model.get("live")) this.attention.onAsk = (name, value) => this.askedFor(name, value);
  }

  control({ name, kind, label, options, low, high, step, needs }) {
    const set = value => this.set(name, value, needs);
    if (kind === "button") {
      const onclick = () => set(options[0]);
      return make("button", { type: "button", textContent: label, onclick });
    }
    let input;
    const told = make("output", {});
    const pieces = [told];
    if (kind === "choice") {
      input = make("select", {}, ...options.map(option => new Option(option, option)));
      input.onchange = () => set(options[input.selectedIndex]);
      input.show = value => { input.value = value; };
    } else if (kind === "switch") {
      input = make("input", { type: "checkbox" });
      input.onchange = () => set(input.checked);
      input.show = value => { input.checked = value; };
    } else {
      input = make("input", { type: "range", min: low, max: high, step });
      input.oninput = () => set(Number(input.value));
      input.show = value => {
        input.value = value;
        told.textContent = number(value);
      };
    }
    input.name = name;
    this.inputs[name] = input;
    if (kind === "frame") pieces.push(this.player(name, high, input));
    return make("label", { className: kind }, `${label} `, input, ...pieces);
  }

  player(name, high, input) {
    const button = make("button", { type: "button", textContent: "▶", title: "play" });
    const stop = () => {
      clearInterval(this.playing);
      this.playing = null;
      button.textContent = "▶";
    };
    const step = () => this.set(name, (this.state[name] + 1) % (Number(input.max) + 1), LOCAL);
    button.onclick = () => {
      if (this.playing) return stop();
      this.playing = setInterval(step, 1000 / this.model.get("fps"));
      button.textContent = "❚❚";
      return null;
    };
    this.undo.push(stop);
    return button;
  }

  listen() {
    let stale = false;
    const read = () => {
      stale = false;
      this.read();
    };
    const again = () => {
      if (!stale) queueMicrotask(read); // once for all that one message brought
      stale = true;
    };
    const watch = (name, does) => {
      this.model.on(`change:${name}`, does);
      this.undo.push(() => this.model.off(`change:${name}`, does));
    };
    ["tabs", "data", "state", "verdict", "controls", "answered"].forEach(n => watch(n, again));
    watch("pictures", () => this.readPictures());
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    scheme.addEventListener("change", again);
    const seen = new MutationObserver(again);
    seen.observe(document.body, { attributeFilter: ["data-jp-theme-light", "data-jp-theme-name"] });
    const sized = new ResizeObserver(() => this.soon());
    sized.observe(this.root);
    this.undo.push(() => scheme.removeEventListener("change", again));
    this.undo.push(() => seen.disconnect(), () => sized.disconnect());
    if (this.attention) this.undo.push(() => this.attention.undo.forEach(undo => undo()));
  }

  // --- what Python sent

  async readPictures() {
    const bytes = this.model.get("pictures");
    const ends = this.model.get("picture_ends");
    const turn = (this.turn = (this.turn || 0) + 1);
    const pieces = ends.map((end, i) => {
      const start = bytes.byteOffset + (i ? ends[i - 1] : 0);
      return new Blob([bytes.buffer.slice(start, bytes.byteOffset + end)]);
    });
    const bitmaps = await Promise.all(pieces.map(piece => createImageBitmap(piece)));
    if (turn !== this.turn) return;
    this.bitmaps = bitmaps;
    this.soon();
  }

  // An array that stands in the bytes: { at, shape, half }.
  array({ at, shape, half: short }) {
    const count = shape.reduce((a, b) => a * b, 1);
    const data = this.model.get("data");
    const part = new DataView(data.buffer, data.byteOffset + at, count * (short ? 2 : 4));
    if (short) return { shape, values: halves(part) };
    const values = Float32Array.from({ length: count }, (_, i) => part.getFloat32(4 * i, true));
    return { shape, values };
  }

  unpacked(value) {
    if (Array.isArray(value)) return value.map(part => this.unpacked(part));
    if (value === null || typeof value !== "object") return value;
    if ("at" in value && "shape" in value) return this.array(value);
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, this.unpacked(v)]));
  }

  read() {
    this.skeleton = this.model.get("skeleton");
    this.scale = this.model.get("scale");
    this.rooms = this.unpacked(this.model.get("tabs"));
    const names = Object.keys(this.rooms);
    if (this.attention) names.push("attention");
    this.tab = names.includes(this.state.tab) ? this.state.tab : names[0];
    this.tabs.hidden = names.length < 2;
    this.tabs.replaceChildren(...names.map(name => {
      const onclick = () => this.set("tab", name, LOCAL);
      const tab = make("button", { type: "button", textContent: name, onclick });
      tab.setAttribute("role", "tab");
      tab.setAttribute("aria-selected", name === this.tab);
      return tab;
    }));
    for (const { name, low, high } of this.model.get("controls")) {
      const input = this.inputs[name];
      if (!input) continue;
      if (input.type === "range") Object.assign(input, { min: low, max: high });
      input.show(this.state[name]);
    }
    this.verdict.textContent = this.model.get("verdict");
    const busy = this.model.get("answered") < this.asked;
    this.root.setAttribute("aria-busy", busy);
    if (!this.said.textContent || this.said.textContent === "computing …") {
      this.said.textContent = busy ? "computing …" : "";
    }
    this.furnish();
    this.soon();
  }

  // Canvases for the panels of the chosen tab; those of the same shape stay.
  furnish() {
    const rows = this.rooms[this.tab] || [];
    const shape = JSON.stringify(rows.map(row => row.map(({ wide }) => wide)));
    this.place.hidden = this.tab !== "attention";
    this.body.hidden = this.tab === "attention";
    this.panels = rows.flat();
    if (shape === this.shape) return;
    this.shape = shape;
    this.canvases = [];
    this.body.replaceChildren(...rows.map(row => {
      const line = make("div", { className: "row" });
      line.style.gridTemplateColumns = row.map(({ wide }) => `minmax(0, ${wide}fr)`).join(" ");
      line.append(...row.map(() => this.canvas()));
      return line;
    }));
  }

  canvas() {
    const canvas = make("canvas", { tabIndex: 0 });
    const index = this.canvases.push(canvas) - 1;
    const panel = () => this.panels[index];
    canvas.setAttribute("role", "img");
    canvas.onpointermove = event => this.pointed(panel(), event);
    canvas.onpointerdown = event => this.pressed(panel(), event, canvas);
    canvas.onpointerup = canvas.onpointercancel = () => { this.drag = null; };
    canvas.onkeydown = event => this.key(panel(), event);
    canvas.onblur = () => { this.cursor = undefined; };
    return canvas;
  }

  levels(index) {
    const place = Number(index) || 0;
    return `rgb(${mix((2 * ((place % 6) + 0.5)) / 6 - 1, this.scale.sequential)})`;
  }

  readTheme() {
    const style = getComputedStyle(this.root);
    const value = name => style.getPropertyValue(`--wb-${name.replace("_", "-")}`).trim();
    if (!value("ink")) return false;
    this.tone = Object.fromEntries(this.model.get("roles").map(name => [name, value(name)]));
    this.stops = this.scale[value("theme") || "light"];
    return true;
  }

  soon() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      if (this.root.isConnected && this.readTheme()) this.draw();
    });
  }

  draw() {
    this.panels.forEach((panel, i) => {
      const canvas = this.canvases[i];
      const [width, height] = [canvas.clientWidth, canvas.clientHeight];
      const pen = new CanvasPen(canvas, width, height, devicePixelRatio || 1);
      drawPanel(pen, panel, width, height, this);
      canvas.setAttribute("aria-label", panel.title);
    });
    this.drawn = performance.now();
  }

  // --- what the reader does

  set(name, value, needs) {
    const state = { ...this.state, [name]: value };
    if (needs !== LOCAL && !this.model.get("live")) {
      this.lookUp(state, name);
      return;
    }
    this.model.set("state", state);
    if (needs !== LOCAL) {
      this.asked = Math.max(this.asked, this.model.get("asked")) + 1;
      this.model.set("asked", this.asked);
    }
    if (this.attention && name === "frame") this.attention.lookAt(value);
    if (!this.saving) requestAnimationFrame(() => {
      this.saving = false;
      this.model.save_changes();
    });
    this.saving = true;
    this.read();
  }

  focused(axis, focus) {
    if (axis.kind !== "frame" || !this.inputs.frame) return;
    const frame = Number(axis.labels[focus]);
    if (frame !== this.state.frame) this.set("frame", frame, LOCAL);
  }

  // In a page: what the maps ask for is looked up as the explorer's own.
  askedFor(name, value) {
    if (name === "knocked_out") {
      this.set("knocked out", value, "model");
      return;
    }
    const shown = this.child.get("hidden");
    const turned = [...value, ...shown].find(j => value.includes(j) !== shown.includes(j));
    const click = { control: "hidden", how: "toggle", needs: "model" };
    this.clicked(click, { joint: turned });
  }

  isChosen(joint, panel) {
    if (this.cursor === joint) return true;
    const { control } = panel.click;
    return control === "joint" && this.state.joint === this.skeleton.joints[joint];
  }

  under(panel, event) {
    return PANELS[panel.kind][1](panel, event.offsetX, event.offsetY, this);
  }

  pointed(panel, event) {
    if (this.drag) {
      this.dragged(panel, event);
      return;
    }
    const found = this.under(panel, event);
    this.said.textContent = found.words;
    event.target.style.cursor = panel.brush || (panel.click && found.joint >= 0) ? "crosshair" : "";
  }

  pressed(panel, event, canvas) {
    const found = this.under(panel, event);
    if (panel.brush) {
      canvas.setPointerCapture(event.pointerId);
      this.paint(panel, found.place, event);
    } else if (panel.span) {
      canvas.setPointerCapture(event.pointerId);
      this.drag = { from: Math.round(found.along) };
    } else if (panel.click) this.clicked(panel.click, found);
  }

  clicked({ control, how, needs }, { joint, cell }) {
    const value = this.state[control];
    if (how === "cell" && cell !== undefined) this.set(control, cell, needs);
    if (joint === undefined) return;
    if (how === "set") this.set(control, this.skeleton.joints[joint], needs);
    if (how === "toggle") {
      const left = value.filter(other => other !== joint);
      const longer = [...value, joint].sort((a, b) => a - b);
      this.set(control, left.length < value.length ? left : longer, needs);
    }
    const turned = (v, j) => (j === joint ? (v + 1) % 3 : v);
    if (how === "cycle") this.set(control, value.map(turned), needs);
  }

  // A press on a patch takes hold of it; elsewhere a new one begins, in the frames of its control.
  paint(panel, place, event) {
    const { brush } = this.state;
    const now = frameOf(panel, this);
    const last = this.model.get("last_frame");
    const spans = { "this frame": [now, now], "this frame on": [now, last] };
    const on = ({ points, size, frames }) => now >= frames[0] && now <= frames[1]
      && points.some(p => Math.max(...p.map((v, i) => Math.abs(v - place[i]))) < size / 2);
    const index = event.shiftKey ? -1 : brush.findLastIndex(on);
    if (index >= 0) {
      this.drag = { index, place };
      return;
    }
    const frames = spans[this.state["paint in"]] || [0, last];
    const stroke = { points: [place], size: this.state.size, frames };
    this.drag = { index: brush.length, adds: true };
    this.set("brush", [...brush, stroke], "model");
  }

  dragged(panel, event) {
    const found = this.under(panel, event);
    const { from, index, place, adds } = this.drag;
    if (from !== undefined) {
      const to = Math.round(found.along);
      this.set(panel.span, [Math.max(Math.min(from, to), 0), Math.max(from, to)], "model");
      return;
    }
    const moved = ({ points, ...stroke }) => adds
      ? { points: [...points, found.place], ...stroke }
      : { points: points.map(p => p.map((v, i) => v + found.place[i] - place[i])), ...stroke };
    const strokes = this.state.brush.map((stroke, i) => (i === index ? moved(stroke) : stroke));
    this.drag.place = found.place;
    this.set("brush", strokes, "model");
  }

  // Left, right: the frame. Up, down: a joint; Enter: as a click on it.
  key(panel, event) {
    const input = this.inputs.frame;
    const count = this.skeleton.joints.length;
    const frame = step => {
      const last = Number(input?.max ?? 0);
      if (input) this.set("frame", Math.min(Math.max(this.state.frame + step, 0), last), LOCAL);
    };
    const joint = step => {
      this.cursor = ((this.cursor ?? (step > 0 ? -1 : count)) + step + count) % count;
      this.said.textContent = this.skeleton.joints[this.cursor];
      this.soon();
    };
    const keys = {
      ArrowLeft: () => frame(-1),
      ArrowRight: () => frame(1),
      ArrowUp: () => joint(-1),
      ArrowDown: () => joint(1),
      Enter: () => panel.click && this.clicked(panel.click, { joint: this.cursor }),
    };
    if (!(event.key in keys) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    keys[event.key]();
  }

  // --- a page's stored answers

  // The answer whose controls are those of the state, the changed one among them; of patches the
  // nearest. Its place is shown as the patch.
  lookUp(state, changed) {
    const far = (patch, other) => Math.hypot(
      ...patch.points[0].map((v, i) => v - other.points[0][i]), patch.size - other.size);
    const last = state.brush?.at(-1);
    let best = { far: Infinity };
    for (const answer of this.model.get("stored")) {
      const same = ([name, value]) => name === "brush" && value.length && last
        ? true : JSON.stringify(value) === JSON.stringify(state[name]);
      const own = Object.entries(answer.state);
      if (!(changed in answer.state) || !own.every(same)) continue;
      const distance = answer.state.brush?.length && last ? far(last, answer.state.brush[0]) : 0;
      if (distance < best.far) best = { far: distance, answer };
    }
    if (!best.answer) {
      this.read(); // the control goes back
      this.said.textContent = KERNEL;
      return;
    }
    const { answer } = best;
    this.model.set("state", { ...state, ...answer.state });
    this.model.set("tabs", answer.tabs);
    this.model.set("verdict", answer.verdict);
    this.model.setBytes("data", answer.data);
    if (answer.pictures) {
      this.model.set("picture_ends", answer.picture_ends);
      this.model.setBytes("pictures", answer.pictures);
    }
    for (const [name, value] of Object.entries(answer.attention || {})) {
      if (name.endsWith("data")) this.child.setBytes(name, value);
      else this.child.set(name, value);
    }
  }

  // --- files

  drawing() {
    if (this.tab === "attention") return this.attention.drawing();
    const origin = this.body.getBoundingClientRect();
    const draw = pen => {
      pen.rect(0, 0, origin.width, origin.height, { fill: this.tone.paper });
      this.panels.forEach((panel, i) => {
        const box = this.canvases[i].getBoundingClientRect();
        const inside = () => drawPanel(pen, panel, box.width, box.height, this);
        pen.moved(box.x - origin.x, box.y - origin.y, inside);
      });
    };
    return [origin.width, origin.height, draw];
  }

  table() {
    if (this.tab === "attention") return csv(this.attention.shown, this.attention.kind);
    const rows = this.panels.flatMap(panel => numbersOf(panel, this));
    const cell = value => (typeof value === "number" ? value.toPrecision(6) : quoted(`${value}`));
    return ["panel,series,item,x,value", ...rows.map(row => row.map(cell).join(","))].join("\r\n");
  }

  code() {
    const text = JSON.stringify(this.state).replaceAll("\\", "\\\\").replaceAll("'", "\\'");
    return this.model.get("code").replace("{state}", `'${text}'`);
  }
}

// Draws what a model holds into an element; returns what takes it away again. In JupyterLab the
// attention view is a model of its own, in a page it is stored beside the explorer.
async function mount(model, el) {
  if (model.get("maps")) {
    const view = new View(model, el);
    return () => view.undo.forEach(undo => undo());
  }
  let child = model.get("attention");
  if (typeof child === "string") {
    child = await model.widget_manager.get_model(child.replace("IPY_MODEL_", ""));
  }
  const explorer = new Explorer(model, el, child);
  return () => explorer.undo.forEach(undo => undo());
}
