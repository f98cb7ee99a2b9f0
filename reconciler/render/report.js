"use strict";
(() => {
  const { keys, needs, rows } = JSON.parse(document.getElementById("data").textContent);
  const FIRST_KEY = 9, PAGE = 100;
  const SIGNS = { c: ["✓", "completed"], f: ["✕", "failed"], x: ["–", "cancelled"], r: ["…", "running"], u: ["?", "not known"] };
  const by = (id) => document.getElementById(id);
  const make = (tag, text, kind) => {
    const made = document.createElement(tag);
    made.textContent = text;
    if (kind) made.className = kind;
    return made;
  };
  const chosen = new Map();
  let begin = 0;

  const choice = (name, label, options) => {
    const line = make("p", ""), select = make("select", ""), title = make("label", label + " ");
    select.id = "filter-" + name;
    title.htmlFor = select.id;
    for (const [value, text] of options) {
      const option = make("option", text);
      option.value = value;
      select.append(option);
    }
    select.addEventListener("change", () => {
      chosen.set(name, select.value);
      begin = 0;
      show();
    });
    line.append(title, select);
    by("filters").append(line);
  };

  const wanted = (name) => chosen.get(name) || "all";
  const fits = (row, search) => {
    const need = wanted("need");
    if (need === "any" ? row[7] < 0 : need !== "all" && row[7] !== Number(need)) return false;
    if (keys.some((key, at) => wanted(at) !== "all" && wanted(at) !== "=" + row[FIRST_KEY + at])) return false;
    return search === "" || [row[0], row[1], row[2]].some((text) => text.toLowerCase().includes(search));
  };

  const strip = (results) => {
    const cell = make("td", "", "strip"), told = {};
    for (const letter of results) {
      const sign = make("i", SIGNS[letter][0], letter);
      sign.setAttribute("aria-hidden", "true");
      cell.append(sign);
      told[SIGNS[letter][1]] = (told[SIGNS[letter][1]] || 0) + 1;
    }
    const text = Object.entries(told).map(([word, count]) => count + " " + word).join(", ");
    cell.title = text;
    cell.append(make("span", text, "spoken"));
    return cell;
  };

  const line = (row) => {
    const made = make("tr", ""), head = make("th", "");
    head.scope = "row";
    head.append(make("code", row[0]));
    made.append(head, ...[1, 2, 3, 4, 5].map((at) => make("td", row[at], at > 2 ? "tight" : "")), strip(row[6]));
    made.append(make("td", row[7] < 0 ? "" : needs[row[7]] + ": " + row[8], row[7] < 0 ? "" : "why n" + row[7]));
    const labels = keys.map((key, at) => [key, row[FIRST_KEY + at]]).filter(([, value]) => value);
    made.append(make("td", labels.map(([key, value]) => key + "=" + value).join(" ")));
    return made;
  };

  const show = () => {
    const search = by("search").value.trim().toLowerCase();
    const found = rows.filter((row) => fits(row, search));
    const ids = new Set(found.map((row) => row[0]));
    begin = Math.max(0, Math.min(begin, found.length - 1));
    const end = Math.min(begin + PAGE, found.length);
    by("rows").replaceChildren(...found.slice(begin, end).map(line));
    const filtered = found.length < rows.length;
    by("shown").textContent = found.length === 0 ? "No portfolio fits the filters."
      : `${begin + 1} to ${end} of ${found.length}` + (filtered ? ` that fit the filters, of ${rows.length} in all.` : ".");
    by("pages").hidden = found.length <= PAGE;
    by("less").disabled = begin === 0;
    by("more").disabled = end >= found.length;
    for (const one of document.querySelectorAll("#problems tbody tr")) {
      const all = one.dataset.ids.split(" "), left = filtered ? all.filter((id) => ids.has(id)).length : all.length;
      one.hidden = left === 0;
      for (const count of one.querySelectorAll("b")) count.textContent = left.toLocaleString("en");
    }
    for (const one of document.querySelectorAll(".timeline")) {
      const value = wanted(keys.indexOf(one.dataset.key));
      for (const row of one.querySelectorAll("tbody tr")) row.hidden = value !== "all" && value !== "=" + row.dataset.value;
    }
    for (const row of document.querySelectorAll("#groups tbody tr")) row.hidden = wanted(0) !== "all" && wanted(0) !== "=" + row.dataset.value;
  };

  choice("need", "Needs a person", [["all", "all"], ["any", "any reason"], ...needs.map((word, at) => [String(at), word])]);
  keys.forEach((key, at) => {
    const values = [...new Set(rows.map((row) => row[FIRST_KEY + at]))].sort();
    if (values.some((value) => value)) choice(at, key, [["all", "all"], ...values.map((value) => ["=" + value, value || "(none)"])]);
  });
  const timelines = [...document.querySelectorAll(".timeline")];
  for (const one of timelines) by("by-key").append(make("option", one.dataset.key));
  const turn = () => {
    for (const one of timelines) one.hidden = one.dataset.key !== by("by-key").value;
  };
  by("by-key").addEventListener("change", turn);
  by("search").addEventListener("input", () => {
    begin = 0;
    show();
  });
  by("filters").addEventListener("submit", (event) => event.preventDefault());
  by("less").addEventListener("click", () => {
    begin -= PAGE;
    show();
  });
  by("more").addEventListener("click", () => {
    begin += PAGE;
    show();
  });
  by("filters").hidden = false;
  by("by").hidden = timelines.length < 2;
  turn();
  show();
})();
