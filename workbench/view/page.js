// Of the pages of a run. In a chapter's contents: the section that is being read.
const links = [...document.querySelectorAll("nav div a")];
const heads = links.map(link => document.getElementById(decodeURIComponent(link.hash.slice(1))));
const mark = () => {
  const end = innerHeight + scrollY >= document.documentElement.scrollHeight - 2;
  const line = end ? innerHeight : innerHeight / 3;
  const now = heads.findLastIndex(head =>
    head?.offsetParent && head.getBoundingClientRect().top < line);
  links.forEach((link, i) => {
    link.ariaCurrent = i === now ? "location" : null;
    link.hidden = !heads[i]?.offsetParent; // it waits for an answer
  });
};
addEventListener("scroll", mark, { passive: true });
new ResizeObserver(mark).observe(document.body);

// In the gallery: the pointer goes through the slides of a card from left to right, or through the
// lines that tell them, the arrow keys one by one, and the one that was shown first comes back.
// Where the slides answer a question, its words are covered until the reader presses one.
for (const slides of document.querySelectorAll(".slides")) {
  const make = (tag, properties) => Object.assign(document.createElement(tag), properties);
  const pictures = [...slides.querySelectorAll("picture")];
  const marks = [...slides.querySelectorAll(".marks i")];
  const words = pictures.map(picture => picture.querySelector("img").alt);
  const card = slides.closest(".card");
  const first = pictures.findIndex(picture => !picture.hidden);
  const { ask, right } = slides.dataset;
  const asked = make("p", { className: "asked", role: "status", textContent: ask || "" });
  const list = make("ol");
  const lines = pictures.map((_, i) => make("li", { onpointerenter: () => show(i) }));
  list.append(...lines);
  card.querySelector(".told p").after(...(ask ? [asked, list] : [list]));
  let at = first;
  let covered = Boolean(ask);
  const plain = i => words[i].replace(/^\W+/, "");
  const said = i => (covered ? plain(i).split(":")[0] : words[i]);
  const show = i => {
    const last = covered ? 0 : pictures.length - 1; // an answer's picture gives it away
    at = Math.min(Math.max(i, 0), last);
    pictures.forEach((picture, k) => { picture.hidden = k !== at; });
    [marks, lines].forEach(all => all.forEach((one, k) => one.classList.toggle("now", k === at)));
    slides.querySelector(".words").textContent = said(at);
  };
  const answer = i => {
    covered = false;
    asked.textContent = `${i === Number(right) ? "✓ Right." : "✕ Not right."} ${plain(right)}.`;
    tell();
    show(i);
  };
  const press = i => event => {
    event.preventDefault(); // the card is a link
    answer(i);
  };
  const tell = () => lines.forEach((line, i) => {
    const button = make("button", { type: "button", textContent: said(i), onclick: press(i) });
    line.replaceChildren(covered && i ? button : said(i));
  });
  slides.onpointermove = event => {
    const { left, width } = slides.getBoundingClientRect();
    show(Math.floor(((event.clientX - left) / width) * pictures.length));
  };
  card.onpointerleave = card.onblur = () => show(first);
  card.onkeydown = event => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    show(at + by);
  };
  tell();
  show(first);
}
