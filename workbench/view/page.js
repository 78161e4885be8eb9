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
for (const slides of document.querySelectorAll(".slides")) {
  const pictures = [...slides.querySelectorAll("picture")];
  const marks = [...slides.querySelectorAll(".marks i")];
  const card = slides.closest(".card");
  const first = pictures.findIndex(picture => !picture.hidden);
  const list = document.createElement("ol");
  const lines = pictures.map((picture, i) => {
    const line = document.createElement("li");
    line.textContent = picture.querySelector("img").alt;
    line.onpointerenter = () => show(i);
    return line;
  });
  list.append(...lines);
  card.querySelector(".told p").after(list);
  let at = first;
  const show = i => {
    at = Math.min(Math.max(i, 0), pictures.length - 1);
    pictures.forEach((picture, k) => { picture.hidden = k !== at; });
    [marks, lines].forEach(all => all.forEach((one, k) => one.classList.toggle("now", k === at)));
    slides.querySelector(".words").textContent = pictures[at].querySelector("img").alt;
  };
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
  show(first);
}
