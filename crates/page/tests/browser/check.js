(() => {
  // Figures that are not on the screen have no layout yet.
  document.head.appendChild(document.createElement("style")).textContent = "*{content-visibility:visible!important}";
  const faults = [];
  const near = 1.5;
  const visible = element => element.checkVisibility({ checkOpacity: true });
  const overlap = (a, b) =>
    Math.min(a.right, b.right) - Math.max(a.left, b.left) > near && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > near;
  const words = text => text.trim().slice(0, 40);

  // Text of plots: apart from each other, and inside.
  for (const svg of document.querySelectorAll("svg.panel")) {
    if (!visible(svg)) continue;
    const box = svg.getBoundingClientRect();
    const texts = [...svg.querySelectorAll("text")].map(text => ({ words: words(text.textContent), box: text.getBoundingClientRect() }));
    const name = svg.getAttribute("aria-label").slice(0, 60);
    texts.forEach((one, index) => {
      const { left, right, top, bottom } = one.box;
      if (left < box.left - near || right > box.right + near || top < box.top - near || bottom > box.bottom + near)
        faults.push(`${name}: "${one.words}" leaves its plot`);
      for (const other of texts.slice(index + 1))
        if (overlap(one.box, other.box)) faults.push(`${name}: "${one.words}" over "${other.words}"`);
    });
  }

  // Text of the page: apart from each other, inside the window.
  const rects = [];
  const walker = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    const parent = node.parentElement;
    if (!node.textContent.trim() || parent.closest("svg, .scroll, .caveats ul, script, textarea") || !visible(parent)) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const rect of range.getClientRects())
      if (rect.width > 0 && rect.height > 0) rects.push({ rect, words: words(node.textContent), node });
  }
  rects.sort((a, b) => a.rect.top - b.rect.top);
  rects.forEach((one, index) => {
    if (one.rect.right > innerWidth + near || one.rect.left < -near) faults.push(`"${one.words}" leaves the window`);
    for (const other of rects.slice(index + 1)) {
      if (other.rect.top > one.rect.bottom) break;
      // Lines of one text may touch.
      if (other.node !== one.node && overlap(one.rect, { ...other.rect.toJSON(), top: other.rect.top + 2, bottom: other.rect.bottom - 2 }))
        faults.push(`"${one.words}" over "${other.words}"`);
    }
  });
  if (document.documentElement.scrollWidth > innerWidth) faults.push(`the page is ${document.documentElement.scrollWidth} wide in ${innerWidth}`);

  // Marks: there, and to be seen.
  const marks = {};
  const figures = {};
  for (const figure of document.querySelectorAll("figure.plot")) {
    const all = [...figure.querySelectorAll(".m")];
    marks[figure.id] = all.length;
    if (Number(figure.dataset.marks) !== all.length) faults.push(`${figure.id}: ${all.length} marks, not ${figure.dataset.marks}`);
    if (figure.id in figures) faults.push(`${figure.id} is there twice`);
    figures[figure.id] = figure;
    const ground = getComputedStyle(document.body).backgroundColor;
    for (const mark of visible(figure) ? all : []) {
      const box = mark.getBoundingClientRect();
      const style = getComputedStyle(mark);
      const shows = paint => paint !== "none" && paint !== ground && paint !== "rgba(0, 0, 0, 0)";
      if (box.width + box.height < 2) faults.push(`${figure.id}: a mark without extent`);
      if (!shows(style.fill) && !shows(style.stroke)) faults.push(`${figure.id}: a mark that can't be seen: ${mark.getAttribute("class")}`);
    }
    for (const svg of figure.querySelectorAll("svg.panel")) {
      if (!/^.+: .+/.test(svg.getAttribute("aria-label"))) faults.push(`${figure.id}: a panel without alternative text`);
      if (svg.querySelectorAll(".m").length !== Number(svg.dataset.marks)) faults.push(`${figure.id}: a panel of other marks`);
      if (!svg.querySelector("text.u")) faults.push(`${figure.id}: a panel without a unit`);
    }
    if (!figure.querySelector("details.data :is(tbody tr, pre), p.fine a")) faults.push(`${figure.id}: no table of its data`);
    if (!figure.querySelector(".legend li")) faults.push(`${figure.id}: no legend`);
  }
  const ids = [...document.querySelectorAll("[id]")].map(element => element.id);
  if (new Set(ids).size !== ids.length) faults.push("an id is there twice");
  return { faults: faults.slice(0, 20), count: faults.length, marks, ground: getComputedStyle(document.body).backgroundColor };
})()
