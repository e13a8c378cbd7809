"use strict";
(() => {
  const tip = document.getElementById("tip");
  const hide = () => { tip.hidden = true; };
  const show = (text, x, y) => {
    tip.textContent = text;
    tip.hidden = false;
    const { width, height } = tip.getBoundingClientRect();
    tip.style.left = Math.max(4, x + 14 + width > innerWidth ? x - 14 - width : x + 14) + "px";
    tip.style.top = Math.max(4, y + 14 + height > innerHeight ? y - 14 - height : y + 14) + "px";
  };
  const data = (element) => JSON.parse(element.querySelector("script").textContent);
  const clip = (name) => (name.length > 60 ? name.slice(0, 59) + "…" : name);
  const make = (tag, properties, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };

  // Charts: read out every shown series at the nearest place along x.
  for (const figure of document.querySelectorAll(".plot")) {
    const svg = figure.querySelector(".chart"), cursor = svg.querySelector(".cursor");
    const series = data(figure), off = new Set();
    let at = 300;
    const read = (clientX, clientY) => {
      const lines = [];
      let head = "", head_at = null;
      series.forEach(([name, points], i) => {
        if (off.has(i) || !points.length) return;
        let best = points[0];
        for (const p of points) if (Math.abs(p[0] / 10 - at) < Math.abs(best[0] / 10 - at)) best = p;
        if (Math.abs(best[0] / 10 - at) > 12) return;
        if (head_at === null || Math.abs(best[0] / 10 - at) < Math.abs(head_at - at)) { head = best[2]; head_at = best[0] / 10; }
        lines.push([clip(name), best]);
      });
      if (head_at === null) return leave();
      cursor.setAttribute("d", `M${head_at} 12V298`);
      const text = lines.map(([name, p]) => `${name}: ${p[3]}` + (p[2] === head ? "" : ` (at ${p[2]})`));
      show([head, ...text].join("\n"), clientX, clientY);
    };
    const leave = () => { hide(); cursor.setAttribute("d", ""); };
    svg.addEventListener("pointermove", (e) => {
      const box = svg.getBoundingClientRect();
      at = ((e.clientX - box.left) / box.width) * 600;
      read(e.clientX, e.clientY);
    });
    svg.addEventListener("pointerleave", leave);
    svg.addEventListener("blur", leave);
    svg.addEventListener("keydown", (e) => {
      const step = { ArrowLeft: -8, ArrowRight: 8 }[e.key];
      if (!step) return;
      e.preventDefault();
      at = Math.min(586, Math.max(68, at + step));
      const box = svg.getBoundingClientRect();
      read(box.left + (at / 600) * box.width, box.top + box.height / 3);
    });
    for (const button of figure.querySelectorAll(".legend button")) {
      button.addEventListener("click", () => {
        const i = Number(button.dataset.series), gone = !off.delete(i);
        if (gone) off.add(i);
        button.setAttribute("aria-pressed", String(!gone));
        svg.querySelector(`[data-series="${i}"]`).classList.toggle("off", gone);
      });
    }
  }

  // Maps: the same points on one canvas or several; one class may stand out in all of them.
  for (const figure of document.querySelectorAll(".projection")) {
    const { classes, of, ids, maps } = data(figure);
    const list = figure.querySelector("ul"), find = figure.querySelector("input");
    const counts = new Array(classes.length).fill(0);
    for (const c of of) counts[c]++;
    const order = classes.map((_, i) => i).sort((a, b) => counts[b] - counts[a] || a - b);
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const colour = (c) => `hsl(${((c * 137.508 + 215) % 360).toFixed(1)} ${45 + (c % 3) * 8}% ${(dark.matches ? 62 : 46) + (c % 2) * 5}%)`;
    let picked = -1;
    const planes = [...figure.querySelectorAll(".map")].map((box, m) => {
      const places = maps[m], canvas = box.querySelector("canvas"), ring = box.querySelector(".ring");
      let scale = 1, left = 0, top = 0;
      const x = (i) => left + places[2 * i] * scale, y = (i) => top + places[2 * i + 1] * scale;
      const draw = () => {
        const ratio = devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
        canvas.width = width * ratio; canvas.height = height * ratio;
        const side = Math.min(width, height) - 24;
        scale = side / 4095; left = (width - side) / 2; top = (height - side) / 2;
        const radius = Math.max(1.2, Math.min(3, .29 * side / Math.sqrt(ids.length)));
        const pen = canvas.getContext("2d"), colours = classes.map((_, c) => colour(c));
        pen.scale(ratio, ratio);
        const paint = (wanted, alpha, r) => {
          pen.globalAlpha = alpha;
          for (let i = 0; i < ids.length; i++) {
            if (places[2 * i] < 0 || !wanted(of[i])) continue;
            pen.fillStyle = colours[of[i]];
            if (r < 1.5) { pen.fillRect(x(i) - r, y(i) - r, 2 * r, 2 * r); continue; }
            pen.beginPath(); pen.arc(x(i), y(i), r, 0, 7); pen.fill();
          }
        };
        if (picked < 0) return paint(() => true, .72, radius);
        paint((c) => c !== picked, .1, radius);
        paint((c) => c === picked, 1, radius + 1.4);
      };
      const nearest = (e) => {
        const box = canvas.getBoundingClientRect(), px = e.clientX - box.left, py = e.clientY - box.top;
        let best = -1, least = 100;
        for (let i = 0; i < ids.length; i++) {
          if (places[2 * i] < 0) continue;
          const d = (x(i) - px) ** 2 + (y(i) - py) ** 2 + (picked >= 0 && of[i] !== picked ? 20 : 0);
          if (d < least) { least = d; best = i; }
        }
        return best;
      };
      const mark = (i) => {
        ring.hidden = i < 0 || places[2 * i] < 0;
        if (!ring.hidden) { ring.style.left = x(i) + "px"; ring.style.top = y(i) + "px"; ring.style.borderColor = colour(of[i]); }
      };
      canvas.hidden = false;
      canvas.addEventListener("pointermove", (e) => {
        const i = nearest(e);
        planes.forEach((plane) => plane.mark(i));
        if (i < 0) return hide();
        show(`${clip(classes[of[i]])}\n${clip(ids[i])}`, e.clientX, e.clientY);
      });
      canvas.addEventListener("pointerleave", () => { hide(); planes.forEach((plane) => plane.mark(-1)); });
      canvas.addEventListener("click", (e) => {
        const i = nearest(e), c = i < 0 ? -1 : of[i];
        pick(c === picked ? -1 : c);
      });
      new ResizeObserver(draw).observe(canvas);
      return { draw, mark };
    });
    const fill = () => {
      const wanted = find.value.toLowerCase(), buttons = [];
      for (const c of order) {
        if (buttons.length === 60) break;
        if (wanted && !classes[c].toLowerCase().includes(wanted)) continue;
        const dot = make("i"), name = make("span", { className: "name", dir: "auto", title: classes[c] }, clip(classes[c]));
        dot.style.background = colour(c);
        const button = make("button", { type: "button" }, dot, name, make("small", {}, String(counts[c])));
        button.setAttribute("aria-pressed", String(c === picked));
        button.addEventListener("click", () => pick(c === picked ? -1 : c));
        buttons.push(make("li", {}, button));
      }
      list.replaceChildren(...buttons);
    };
    const draw = () => { planes.forEach((plane) => plane.draw()); fill(); };
    const pick = (c) => { picked = c; draw(); };
    find.addEventListener("input", fill);
    dark.addEventListener("change", draw);
    figure.querySelector(".picker").hidden = figure.querySelector(".hint").hidden = false;
    fill();
  }

  // Class tables: sort, filter, page.
  for (const box of document.querySelectorAll(".classes")) {
    const all = data(box), body = box.querySelector("tbody"), tools = box.querySelector(".tools");
    const find = tools.querySelector("input"), [back, on] = tools.querySelectorAll("button"), where = tools.querySelector("output");
    const heads = [...box.querySelectorAll("thead th")], size = 25;
    const spell = new Intl.Collator(undefined, { numeric: true });
    let rows = all.map((_, i) => i), column = -1, way = 1, page = 0;
    const draw = () => {
      const pages = Math.max(1, Math.ceil(rows.length / size));
      page = Math.min(page, pages - 1);
      const shown = rows.slice(page * size, page * size + size);
      body.replaceChildren(...shown.map((r) => {
        const [name, , texts] = all[r];
        const head = make("th", { scope: "row" }, make("span", { className: "name", dir: "auto", title: name }, name));
        const cells = heads.slice(1).map((_, i) => make("td", { className: "num" }, texts[i] ?? "–"));
        return make("tr", {}, head, ...cells);
      }));
      const first = rows.length ? page * size + 1 : 0;
      where.textContent = `${first}–${page * size + shown.length} of ${rows.length}`;
      back.disabled = page === 0;
      on.disabled = page >= pages - 1;
    };
    const select = () => {
      const wanted = find.value.toLowerCase();
      rows = all.map((_, i) => i).filter((r) => all[r][0].toLowerCase().includes(wanted));
      if (column === 0) rows.sort((a, b) => way * spell.compare(all[a][0], all[b][0]) || a - b);
      if (column > 0) {
        const value = (r) => all[r][1][column - 1];
        // Classes without a number stay last whichever way is sorted.
        rows.sort((a, b) => (value(a) == null) - (value(b) == null) || way * (value(a) - value(b)) || a - b);
      }
      page = 0;
      draw();
    };
    heads.forEach((head, i) => {
      const button = make("button", { type: "button" }, head.textContent);
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        way = column === i ? -way : 1;
        column = i;
        heads.forEach((h) => h.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", way > 0 ? "ascending" : "descending");
        select();
      });
    });
    find.addEventListener("input", select);
    back.addEventListener("click", () => { page--; draw(); });
    on.addEventListener("click", () => { page++; draw(); });
    tools.hidden = false;
    draw();
  }
})();
