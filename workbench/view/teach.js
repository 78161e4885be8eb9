// What chapters teach with: a method step by step, and questions whose answer stays covered until
// the reader commits. Both are explorers that ask no kernel: all that they show was sent at once.

// Left and right for what is inside of an element, unless something there takes them itself.
function arrows(root, does) {
  root.addEventListener("keydown", event => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    event.preventDefault();
    event.stopPropagation();
    does(by);
  });
}

class Steps extends Explorer {
  build() {
    const line = className => make("p", { className });
    const go = by => this.go(this.state.step + by);
    this.root.classList.add("steps");
    this.root.tabIndex = 0;
    arrows(this.root, go);
    this.choices = make("div", { className: "tabs" });
    this.boxes = make("ol", { className: "pipeline" });
    this.title = line("verdict");
    this.words = line("words");
    this.words.role = "status";
    this.equation = make("div", { className: "equation" });
    this.rule = line("rule");
    this.said = line("said");
    this.back = button("◂ back", () => go(-1), "left arrow");
    this.next = button("next ▸", () => go(1), "right arrow", "first");
    this.at = make("output", {});
    const way = make("div", { className: "bar way" }, this.back, this.at, this.next);
    const top = make("div", { className: "bar" }, this.choices, way);
    this.root.append(top, this.boxes, this.title, this.words, this.equation, this.place,
      this.said, this.rule);
  }

  get shown() {
    return this.get("cases").find(({ name }) => name === this.state.case);
  }

  go(step) {
    const last = this.shown.steps.length;
    this.set("step", Math.min(Math.max(step, 1), last), LOCAL);
    this.read();
  }

  choose(name) {
    this.set("case", name, LOCAL);
    this.go(1);
  }

  // Arrows of a panel are the stepper's.
  key() {}

  read() {
    const cases = this.get("cases");
    if (!cases.length) return; // they follow
    const focus = document.activeElement;
    const inside = this.root.contains(focus);
    this.unpack();
    const { steps, rule } = this.shown;
    const at = Math.min(this.state.step, steps.length);
    const step = steps[at - 1];
    this.choices.replaceChildren(...cases.map(({ name }) =>
      Object.assign(button(name, () => this.choose(name)), { ariaSelected: name === this.state.case,
        role: "tab" })));
    this.boxes.replaceChildren(...this.get("pipeline").map(name => {
      const place = steps.findIndex(({ lit }) => lit === name);
      const box = button(name, () => this.go(place + 1));
      box.disabled = place < 0;
      return make("li", { ariaCurrent: name === step.lit ? "step" : null }, box);
    }));
    this.title.textContent = `${at} · ${step.title}`;
    this.words.textContent = step.words;
    const parsed = new DOMParser().parseFromString(step.equation, "text/html"); // runs nothing
    this.equation.replaceChildren(...parsed.querySelectorAll("body > math, body > code"));
    this.rule.textContent = rule;
    this.rule.classList.toggle("later", at < steps.length); // it tells the end
    this.at.textContent = `${at} of ${steps.length}`;
    this.back.disabled = at === 1;
    this.next.disabled = at === steps.length;
    this.furnish(`${this.state.case} ${at}`);
    // what had the focus may be gone, or disabled: the keys go on
    if (inside && (focus.disabled || !focus.isConnected)) this.root.focus({ preventScroll: true });
    this.soon();
  }
}

// --- predictions

// By chapter the answers of a page, in the order of their questions: several modules share them.
const ANSWERS = (globalThis.workbenchPredictions ||= {});
const COUNTED = "workbench-predicted";
const GRADES = { right: "✓ Right. ", near: "≈ Near. ", off: "✕ Not right. ", "": "" };

class Prediction extends Explorer {
  build() {
    const line = className => make("p", { className });
    this.root.classList.add("prediction");
    this.question = line("verdict");
    this.says = line("rule");
    this.inputs = make("div", { className: "bar" });
    this.open = button("commit", () => this.commit(), "", "first");
    this.peek = button("show without an answer", () => this.uncover());
    this.answer = line("words");
    this.answer.role = "status";
    this.score = make("output", {});
    this.said = line("said");
    const file = button("answers as JSON", () => this.file(), "of all questions of this chapter");
    this.tally = make("div", { className: "bar tally" }, this.score, file);
    this.asking = make("div", { className: "bar" }, this.inputs, this.open, this.peek, this.says);
    this.root.append(this.question, this.place, this.said, this.asking, this.answer, this.tally);
    const count = () => this.count();
    document.addEventListener(COUNTED, count);
    this.undo.push(() => document.removeEventListener(COUNTED, count));
  }

  get asks() {
    return this.get("asks_for");
  }

  get given() {
    return this.state.given;
  }

  // The inputs of a choice or a number; joints and curves are given on their panel.
  furnishInputs() {
    const { kind, options, unit } = this.asks;
    const make_ = properties => make("input", properties);
    const one = (words, i) => make("label", {}, make_({ type: "radio", name: this.asks.question,
      value: i, onchange: () => this.give([i]) }), words);
    const typed = make_({ type: "number", step: "any", name: "number", ariaLabel: "your number",
      oninput: () => this.give(typed.value === "" ? [] : [Number(typed.value)]) });
    const inside = { choice: () => options.map(one), number: () => [typed, unit] }[kind]?.() || [];
    this.inputs.replaceChildren(...inside);
  }

  give(given) {
    if (this.state.committed || this.uncovered) return;
    this.set("given", given, LOCAL);
    this.read();
  }

  commit() {
    this.set("committed", true, LOCAL);
    this.read();
  }

  uncover() {
    this.uncovered = true;
    this.read();
  }

  read() {
    if (!this.asks.kind) return; // it follows
    this.unpack();
    const { question, kind, because, says } = this.asks;
    if (!this.question.textContent) this.furnishInputs();
    const { committed } = this.state;
    const open = committed || this.uncovered;
    const tab = open ? "answered" : "asked";
    this.question.textContent = question;
    const told = this.answers.length ? "More appears below then." : "";
    this.says.textContent = [kind === "choice" ? "" : `${says}.`, told].join(" ").trim();
    for (const input of this.inputs.querySelectorAll("input")) {
      input.disabled = open;
      if (kind === "choice") input.checked = Number(input.value) === this.given[0];
      else if (this.given.length && document.activeElement !== input) input.value = this.given[0];
    }
    this.open.disabled = !this.given.length || open;
    this.open.hidden = open;
    this.says.hidden = this.said.hidden = open;
    this.tally.hidden = !open;
    this.peek.hidden = open || this.get("live");
    this.root.dataset.grade = this.grade;
    const twice = this.grade === "right" && because.startsWith(this.inWords());
    const yours = this.given.length && !twice ? `You: ${this.inWords()}. ` : "";
    const right = committed && this.grade !== "right" ? this.right : "";
    this.answer.textContent = open ? `${GRADES[this.grade]}${yours}${right}${because}` : "";
    this.furnish(tab);
    this.root.dataset.tab = tab;
    this.addYours(open);
    (ANSWERS[this.asks.chapter] ||= new Map()).set(question, this.row());
    document.dispatchEvent(new Event(COUNTED));
    this.soon();
  }

  get grade() {
    const { options, grades, tolerance } = this.asks;
    if (!this.state.committed) return "";
    if (options.length) return grades[this.given[0]];
    return this.apart <= tolerance[0] ? "right" : this.apart <= tolerance[1] ? "near" : "off";
  }

  // What would have been right, in words; a curve is drawn.
  get right() {
    const { kind, options, measured, unit, because, by } = this.asks;
    if (options.length) {
      return because.startsWith(measured[0]) ? "Right: " : `Right: ${measured.join(", ")}. `;
    }
    const says = `${by[0].toUpperCase()}${by.slice(1)}: `;
    if (/^[+-]?\d/.test(because)) return says;
    return kind === "number" ? `${`${says}${number(measured[0])} ${unit}`.trim()}. ` : "";
  }

  // Of a place the distance from the true one, of numbers the mean one from the measured.
  get apart() {
    const { kind, measured } = this.asks;
    const far = measured.map((value, i) => Math.abs(this.given[i] - value));
    return kind === "place" ? Math.hypot(...far) : mean(far);
  }

  inWords() {
    const { kind, options, unit, rivals } = this.asks;
    if (options.length) return options[this.given[0]];
    if (kind === "place") {
      const behind = rivals.filter(error => error > this.apart).length;
      return `${number(this.apart)} ${unit} away, nearer than ${behind} of ${rivals.length}`;
    }
    if (kind === "curve") return `${number(this.apart)} ${unit} away on average`.replace("  ", " ");
    return `${number(this.given[0])} ${unit}`.trim();
  }

  row() {
    const { question, kind, unit, says, options, measured } = this.asks;
    const given = options.length ? this.given.map(i => options[i]) : this.given;
    const { committed } = this.state;
    return { question, kind, unit, says, given, committed, measured, grade: this.grade };
  }

  // The reader's answer in the panels, beside the measured one.
  addYours(open) {
    const { kind, unit, x, start, options, tolerance } = this.asks;
    const [first] = this.given;
    const bars = this.panels.every(panel => panel.kind === "bars");
    this.place.hidden = !this.panels.length;
    for (const panel of this.panels) {
      if (kind === "joint" && panel.kind === "picture" && open) this.point(panel);
      if (kind === "place" && panel.kind === "picture" && this.given.length) {
        const own = { at: this.given, words: "you", aside: 12, ring: 4, reach: tolerance[0] };
        panel.notes = [...(panel.notes || []).filter(({ words }) => words !== "you"), own];
      }
      if (kind === "curve") {
        const heights = this.given.length ? this.given : x.map(() => start);
        const own = { name: "you", role: "ink", look: "both", dash: [5, 4] };
        panel.lines = panel.lines.filter(({ name }) => name !== "you");
        panel.lines.push({ ...own, x: { values: x }, y: { values: heights } });
      } else if (panel.kind === "bars" && open && this.given.length) {
        panel.bars = panel.bars.filter(({ label }) => label !== "you");
        const value = kind === "place" ? this.apart : first;
        const own = { label: "you", value, role: "ink", mark: "" };
        if (kind === "place" || (kind === "number" && panel.unit === unit)) panel.bars.push(own);
        else if (panel.unit === unit) {
          const mine = panel.bars.find(({ label }) => label.split(":")[0] === options[first]);
          if (mine) mine.mark = "you ▸";
        }
      }
    }
    const rows = Math.max(...this.panels.map(panel => panel.bars?.length || 0));
    this.place.style.height = bars ? `${TITLE + LINE + 8 + 26 * rows}px` : "";
  }

  // Names the measured joint in a picture, and the reader's.
  point(panel) {
    const [joints] = peopleAt(panel.people[0], 0);
    const right = this.asks.options.indexOf(this.asks.measured[0]);
    const names = [[right, "measured"], [this.given[0], "you"]];
    const own = names.filter(([joint], i) => joint >= 0 && (!i || joint !== right));
    panel.notes = own.map(([joint, words], i) =>
      ({ at: joints[joint].slice(0, 2), words, aside: i ? 12 : 28, ring: 8 }));
  }

  isChosen(joint) {
    return joint === this.cursor || joint === this.given[0];
  }

  clicked(_, { joint, place }) {
    if (this.asks.kind === "place") this.give(place.map(Math.round));
    else if (joint !== undefined) this.give([joint]);
  }

  clickable(panel, joint) {
    return (this.asks.kind === "place" && panel.click) || super.clickable(panel, joint);
  }

  // The point of the curve that is nearest along x gets the pointer's height.
  pressed(panel, event) {
    if (this.asks.kind !== "curve") return super.pressed(panel, event);
    event.target.setPointerCapture(event.pointerId);
    this.drag = {};
    return this.dragged(panel, this.under(panel, event));
  }

  dragged(panel, { x, y }) {
    const far = this.asks.x.map(place => Math.abs(place - x));
    this.lift(panel, far.indexOf(Math.min(...far)), y);
  }

  lift(panel, point, y) {
    const { x, start } = this.asks;
    const now = this.given.length ? this.given : x.map(() => start);
    const [low, high] = panel.y_range;
    const kept = Number(Math.min(Math.max(y, low), high).toPrecision(4));
    this.lifted = point;
    this.give(now.map((old, i) => (i === point ? kept : old)));
    this.tell(`at ${number(x[point])}: ${number(kept)} ${this.asks.unit}`);
  }

  // Of a curve left and right choose a point, up and down move it; a place goes all ways.
  key(panel, event) {
    const { kind, x, start } = this.asks;
    const moves = { curve: "lines", place: "picture" }[kind] === panel.kind;
    const [along, up] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1],
      ArrowDown: [0, -1] }[event.key] || [0, 0];
    if (!moves || (!along && !up)) return super.key(panel, event);
    event.preventDefault();
    event.stopPropagation();
    if (kind === "place") {
      const [x0, y0, x1, y1] = panel.box;
      const [px, py] = this.given.length ? this.given : [(x0 + x1) / 2, (y0 + y1) / 2];
      return this.give([px + 2 * along, py - 2 * up]);
    }
    const point = Math.min(Math.max((this.lifted ?? 0) + along, 0), x.length - 1);
    const [low, high] = panel.y_range;
    return this.lift(panel, point, (this.given[point] ?? start) + (up * (high - low)) / 40);
  }

  // --- of all questions of the chapter

  // What gives the answer away in a page: its cells up to the next question.
  get answers() {
    const all = [...document.querySelectorAll(".prediction, .answer")];
    const below = this.root.isConnected ? all.slice(all.indexOf(this.root) + 1) : [];
    const end = below.findIndex(one => one.matches(".prediction"));
    return end < 0 ? below : below.slice(0, end);
  }

  count() {
    const open = this.state.committed || this.uncovered;
    for (const one of this.answers) one.hidden = !open;
    const { committed, right, near, questions } = scored(this.asks.chapter);
    this.score.textContent =
      `${committed} of ${questions} predicted in this chapter: ${right} right, ${near} near`;
  }

  file() {
    const { chapter } = this.asks;
    const predictions = [...ANSWERS[chapter].values()];
    const text = JSON.stringify({ chapter, ...scored(chapter), predictions }, null, 1);
    save(`predictions_${chapter}.json`, new Blob([text], { type: "application/json" }));
  }
}

function scored(chapter) {
  const rows = [...(ANSWERS[chapter] || new Map()).values()];
  const how = word => rows.filter(({ grade }) => grade === word).length;
  const committed = rows.filter(row => row.committed).length;
  return { questions: rows.length, committed, right: how("right"), near: how("near") };
}
