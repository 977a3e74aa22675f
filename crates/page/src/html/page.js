"use strict";
(() => {
  const number = text => {
    const value = parseFloat(text.replace(/\u00a0/g, ""));
    return Number.isNaN(value) ? null : value;
  };

  const element = (tag, words = "") => {
    const made = document.createElement(tag);
    made.textContent = words;
    return made;
  };

  const button = (words, press) => {
    const made = element("button", words);
    made.type = "button";
    made.addEventListener("click", () => press(made));
    return made;
  };

  const sort = (table, column) => {
    const heads = [...table.tHead.rows[0].cells];
    const descends = heads[column].getAttribute("aria-sort") === "ascending";
    heads.forEach(other => other.removeAttribute("aria-sort"));
    heads[column].setAttribute("aria-sort", descends ? "descending" : "ascending");
    const rows = [...table.tBodies[0].rows].map(row => {
      const text = row.cells[column]?.textContent ?? "";
      return { row, text, value: number(text) };
    });
    // Cells without a number (OOM, N/A) stay at the end.
    const isNumbers = rows.some(one => one.value !== null && !/[a-z]/i.test(one.text));
    rows.sort((one, other) => {
      if (!isNumbers) return (descends ? -1 : 1) * one.text.localeCompare(other.text);
      if (one.value === null || other.value === null) return (one.value === null) - (other.value === null);
      return (descends ? -1 : 1) * (one.value - other.value);
    });
    table.tBodies[0].append(...rows.map(one => one.row));
  };

  const makeSortable = table => {
    [...table.tHead.rows[0].cells].forEach((head, column) =>
      head.replaceChildren(button(head.textContent, () => sort(table, column))));
  };

  document.querySelectorAll("table.sortable").forEach(makeSortable);

  const tell = (button, words) => {
    const before = button.textContent;
    button.textContent = words;
    setTimeout(() => { button.textContent = before; }, 1500);
  };

  for (const copier of document.querySelectorAll("button.copier")) {
    const place = copier.parentNode;
    const large = place.nextElementSibling;
    place.hidden = false;
    copier.addEventListener("click", async () => {
      let area = copier.nextElementSibling;
      const text = area ? area.value : large.textContent;
      try {
        await navigator.clipboard.writeText(text);
        tell(copier, "Copied");
      } catch {
        // Some browsers give a page from disk no clipboard: show the text, selected.
        if (!area) {
          area = element("textarea", text);
          area.readOnly = true;
          copier.after(area);
        }
        area.hidden = false;
        area.focus();
        area.select();
        tell(copier, document.execCommand("copy") ? "Copied" : "Copy the text below");
      }
    });
  }

  // Large tables are text until somebody wants to sort one.
  for (const text of document.querySelectorAll("pre.scroll")) {
    const sorter = button("Show as a table to sort", () => {
      const [columns, ...rows] = text.textContent.trimEnd().split("\n").map(line => line.split("\t"));
      const [frame, table] = [element("div"), element("table")];
      const head = table.createTHead().insertRow();
      head.append(...columns.map(words => element("th", words)));
      const body = table.createTBody();
      for (const cells of rows) {
        body.insertRow().append(...cells.map(words => {
          const cell = element("td", words);
          if (!/^[-\d][^a-df-z]*$/i.test(words)) cell.className = "x";
          return cell;
        }));
      }
      for (const name of ["class", "tabindex", "role", "aria-label"]) frame.setAttribute(name, text.getAttribute(name));
      table.className = "sortable";
      makeSortable(table);
      frame.append(table);
      text.replaceWith(frame);
      sorter.remove();
      frame.focus();
    });
    sorter.className = "sorter";
    text.before(sorter);
  }

  const save = (name, parts, type) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob(parts, { type }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  };

  const packed = id => Uint8Array.from(atob(document.getElementById(id).textContent.trim()), c => c.charCodeAt(0));

  const unpacked = async bytes => {
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  };

  // `fields` replaces texts that a spreadsheet would take for formulas.
  const csv = (lines, fields) => {
    const quoted = text => `"${(fields.get(text) ?? text).replace(/"/g, '""')}"`;
    const rows = ["engine,model,precision,device,batch_size,prompt_length,replicate,kind,generation,index,nanoseconds"];
    for (const line of lines.split("\n").filter(Boolean)) {
      const cell = JSON.parse(line);
      const head = [quoted(cell.engine), quoted(cell.model), cell.precision, cell.device, cell.batch_size,
        cell.prompt_length, cell.replicate].join(",");
      cell.prompt_ns.forEach((value, index) => rows.push(`${head},prompt,,${index},${value}`));
      cell.generations.forEach((one, place) => {
        rows.push(`${head},generation_prompt,${place},,${one.prompt_ns}`, `${head},wall,${place},,${one.wall_ns}`);
        one.token_ns.forEach((value, index) => rows.push(`${head},token,${place},${index},${value}`));
      });
    }
    return rows.join("\n") + "\n";
  };

  for (const place of document.querySelectorAll(".download")) {
    const { series, name, fields } = place.dataset;
    for (const button of place.querySelectorAll("button")) {
      button.hidden = false;
      button.addEventListener("click", async () => {
        const bytes = packed(series);
        if (typeof DecompressionStream === "undefined") {
          save(`${name}.jsonl.gz`, [bytes], "application/gzip");
          return;
        }
        const lines = await unpacked(bytes);
        if (button.dataset.as === "csv") save(`${name}.csv`, [csv(lines, new Map(JSON.parse(fields)))], "text/csv");
        else save(`${name}.jsonl`, [lines], "application/jsonl");
      });
    }
  }

  // What a mark stands for, and what a reader chose to see.
  const { names, cells } = JSON.parse(document.getElementById("cells").textContent);
  const controls = document.getElementById("controls");
  const panels = [...document.querySelectorAll(".plot svg.panel")];
  const off = { engine: new Set(), batch: new Set(), prompt: new Set() };
  const rules = document.head.appendChild(document.createElement("style"));
  const live = document.body.appendChild(element("p"));
  const tip = document.body.appendChild(element("div"));
  tip.id = "tip";
  tip.hidden = true;
  live.className = "gone-but-read";
  live.setAttribute("aria-live", "polite");

  const isShown = ([slot, batch, prompt]) =>
    !off.engine.has(slot) && !off.batch.has(batch) && !off.prompt.has(prompt);

  // A line goes through the marks that are left, and has a gap where a size has no figure.
  const redraw = group => {
    const line = group.querySelector(":scope > path.l:not(.m)");
    if (!line) return;
    let [path, isNew] = ["", true];
    for (const mark of group.querySelectorAll(":scope > use.m.p")) {
      isNew ||= mark.classList.contains("gap");
      if (mark.classList.contains("gone")) continue;
      path += `${isNew ? "M" : "L"}${mark.getAttribute("x")} ${mark.getAttribute("y")}`;
      isNew = false;
    }
    line.setAttribute("d", path);
  };

  const isDrawn = mark =>
    !mark.classList.contains("gone") && !off.engine.has(Number(mark.closest("[data-e]")?.dataset.e));

  // The Pareto front is that of the marks that are left: right and above is better.
  const redrawFront = panel => {
    const line = panel.querySelector(":scope > path.front");
    if (!line) return;
    const marks = [...panel.querySelectorAll("use.m")].filter(isDrawn).map(mark => {
      const [x, y] = ["x", "y"].map(name => Number(mark.getAttribute(name)));
      return { x, y, batch: cells[mark.dataset.c][1] };
    });
    marks.sort((one, other) => other.x - one.x || one.y - other.y);
    let highest = Infinity;
    const front = marks.filter(({ y }) => y < highest && ((highest = y), true)).reverse();
    line.setAttribute("d", front.map(({ x, y }, place) => `${place ? "L" : "M"}${x} ${y}`).join(""));
    // The batch sizes beside it.
    const labels = [...panel.querySelectorAll(":scope > text.batch")];
    const labelled = [];
    for (const one of front) {
      if (labelled.every(({ x, y }) => Math.abs(x - one.x) >= 30 || Math.abs(y - one.y) >= 14)) labelled.push(one);
    }
    const made = labelled.map(({ x, y, batch }) => {
      const label = document.createElementNS(line.namespaceURI, "text");
      for (const [name, value] of [["class", "u batch"], ["x", x + 7], ["y", y - 4]]) label.setAttribute(name, value);
      label.textContent = batch;
      return label;
    });
    panel.append(...made);
    labels.forEach(label => label.remove());
  };

  const show = () => {
    leave();
    const hidden = [...off.engine].map(slot => `.panel [data-e="${slot}"]{display:none}`);
    rules.textContent = hidden.join("");
    const isGone = cells.map(([, batch, prompt]) => off.batch.has(batch) || off.prompt.has(prompt));
    for (const panel of panels) {
      for (const mark of panel.querySelectorAll("[data-c]")) mark.classList.toggle("gone", isGone[mark.dataset.c]);
      panel.querySelectorAll("g.series").forEach(redraw);
      redrawFront(panel);
      panel.classList.toggle("gone", ![...panel.querySelectorAll(".m")].some(isDrawn));
    }
    for (const button of document.querySelectorAll(".legend button")) {
      button.setAttribute("aria-pressed", !off.engine.has(Number(button.parentNode.dataset.e)));
    }
    for (const [name, values] of Object.entries(off)) {
      for (const box of controls.querySelectorAll(`input[name="${name}"]`)) box.checked = !values.has(Number(box.value));
    }
    const left = cells.filter(isShown).length;
    const words = left === cells.length ? "all engines, all cells" : `${left} of ${cells.length} cells`;
    document.getElementById("chosen").textContent = words;
    controls.classList.toggle("whole", left === cells.length);
    live.textContent = `Plots show ${words}.`;
  };

  for (const item of document.querySelectorAll(".legend li[data-e]")) {
    const toggle = button("", () => {
      const slot = Number(item.dataset.e);
      if (!off.engine.delete(slot)) off.engine.add(slot);
      show();
    });
    toggle.title = "Show or hide this engine in all plots";
    toggle.setAttribute("aria-pressed", "true");
    toggle.append(...item.childNodes);
    item.append(toggle);
  }

  // Speedups are drawn for each reference; the chosen one's is shown.
  const references = [...document.querySelectorAll("figure[data-reference]")];
  const sections = new Map();
  for (const figure of references) {
    const section = figure.closest("section");
    sections.set(section, [...sections.get(section) ?? [], figure]);
  }
  const choose = slot => {
    for (const [section, figures] of sections) {
      // Tables without that engine keep their own reference.
      const chosen = figures.find(figure => figure.dataset.reference === slot) ?? figures[0];
      for (const figure of figures) figure.classList.toggle("gone", figure !== chosen);
      for (const link of section.querySelectorAll(".contents a")) {
        if (!figures.some(figure => figure.id === link.hash.slice(1))) continue;
        link.href = `#${chosen.id}`;
        link.textContent = chosen.querySelector("h3").textContent;
      }
    }
  };
  const select = controls.elements.reference;
  if (select && references.length) {
    for (const folded of document.querySelectorAll("details.references")) {
      folded.before(...folded.querySelectorAll(":scope > figure"));
      folded.remove();
    }
    for (const option of [...select.options]) {
      if (!references.some(figure => figure.dataset.reference === option.value)) option.remove();
    }
    select.value = references[0].dataset.reference;
    choose(select.value);
    select.addEventListener("change", () => {
      leave();
      choose(select.value);
    });
  } else if (select) {
    select.parentNode.remove();
  }

  controls.hidden = cells.length < 2;
  // It covers the top of the window.
  new ResizeObserver(() => {
    document.documentElement.style.scrollPaddingTop = `${controls.offsetHeight + 8}px`;
  }).observe(controls);
  controls.addEventListener("submit", event => event.preventDefault());
  controls.addEventListener("change", ({ target: { name, value, checked } }) => {
    if (!off[name]) return;
    if (checked) off[name].delete(Number(value)); else off[name].add(Number(value));
    show();
  });
  controls.addEventListener("reset", () => {
    Object.values(off).forEach(values => values.clear());
    setTimeout(() => {
      if (select && references.length) choose(select.value = references[0].dataset.reference);
      show();
    });
  });

  // A reference engine's figure in the same cell of the same table and run.
  const against = ([slot, batch, prompt, run, , seconds, , table]) => {
    const chosen = select && references.length ? Number(select.value) : slot;
    if (chosen === slot || typeof seconds !== "number") return null;
    const other = cells.find(cell =>
      cell[0] === chosen && cell[1] === batch && cell[2] === prompt && cell[3] === run && cell[7] === table && typeof cell[5] === "number");
    return other ? `${(other[5] / seconds).toPrecision(3)}× over ${select.selectedOptions[0].textContent}` : null;
  };

  // Names and texts: a cell's figures, or how it ended.
  const figuresOf = cell => {
    if (!cell) return [];
    const [, , , , , seconds, texts] = cell;
    if (typeof seconds !== "number") return [[seconds, texts[0]]];
    const ratio = against(cell);
    const figures = texts.map((text, place) => [names[place], text]);
    return [...figures, ["Speedup (decode)", ratio ?? ""]].filter(([, text]) => text);
  };

  let current = null;
  const leave = () => {
    if (!current) return;
    const { mark, title, words } = current;
    mark.classList.remove("on");
    title.textContent = words;
    tip.hidden = true;
    current = null;
  };

  // Above the mark, or below it where there is no room.
  const placeTip = () => {
    if (!current) return;
    const place = current.mark.getBoundingClientRect();
    const [width, height] = [tip.offsetWidth, tip.offsetHeight];
    const left = Math.min(Math.max(place.left + place.width / 2 - width / 2, 4), document.documentElement.clientWidth - width - 4);
    const above = place.top - height - 8;
    tip.style.left = `${left + scrollX}px`;
    tip.style.top = `${(above > 4 ? above : place.bottom + 8) + scrollY}px`;
  };
  // Figures get their height when they come into view, and move what is below.
  new ResizeObserver(placeTip).observe(document.querySelector("main"));

  const point = mark => {
    if (current?.mark === mark) return;
    leave();
    const title = mark.querySelector("title");
    const words = title.textContent;
    // The browser would show its own box, too.
    title.textContent = "";
    mark.classList.add("on");
    current = { mark, title, words };
    tip.replaceChildren(element("b", words));
    const figures = figuresOf(cells[mark.dataset.c]);
    if (figures.length) {
      const list = element("dl");
      for (const [name, text] of figures) list.append(element("dt", name), element("dd", text));
      tip.append(list);
    }
    tip.hidden = false;
    placeTip();
  };

  document.addEventListener("keydown", ({ key }) => { if (key === "Escape") leave(); });

  document.addEventListener("pointerover", event => {
    const mark = event.target.closest?.(".panel .m");
    if (mark) point(mark); else leave();
  });

  for (const panel of panels) {
    panel.setAttribute("tabindex", "0");
    panel.setAttribute("aria-description", "Arrow keys show the figures of each mark.");
    panel.addEventListener("blur", leave);
    panel.addEventListener("keydown", event => {
      const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: 0, End: 0 };
      if (!(event.key in steps)) return;
      event.preventDefault();
      const marks = [...panel.querySelectorAll(".m")].filter(mark => mark.getClientRects().length);
      if (!marks.length) return;
      const at = marks.indexOf(current?.mark);
      const next = event.key === "Home" ? 0 : event.key === "End" ? marks.length - 1
        : at < 0 ? 0 : (at + steps[event.key] + marks.length) % marks.length;
      marks[next].scrollIntoView({ block: "nearest", inline: "nearest" });
      point(marks[next]);
      live.textContent = [current.words, ...figuresOf(cells[marks[next].dataset.c]).map(([name, text]) => `${name} ${text}`)].join("; ");
    });
  }
})();
