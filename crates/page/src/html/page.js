"use strict";
(() => {
  const number = text => {
    const value = parseFloat(text.replace(/\u00a0/g, ""));
    return Number.isNaN(value) ? null : value;
  };

  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => head.firstChild.addEventListener("click", () => {
      const descends = head.getAttribute("aria-sort") === "ascending";
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", descends ? "descending" : "ascending");
      const rows = [...table.tBodies[0].rows].map(row => {
        const text = row.cells[column].textContent;
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
    }));
  }

  const tell = (button, words) => {
    const before = button.textContent;
    button.textContent = words;
    setTimeout(() => { button.textContent = before; }, 1500);
  };

  for (const button of document.querySelectorAll("button.copier")) {
    button.addEventListener("click", async () => {
      const area = button.nextElementSibling;
      try {
        await navigator.clipboard.writeText(area.value);
        tell(button, "Copied");
      } catch {
        // Some browsers give a page from disk no clipboard: show the text, selected.
        area.hidden = false;
        area.focus();
        area.select();
        tell(button, document.execCommand("copy") ? "Copied" : "Copy the text below");
      }
    });
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
})();
