"use strict";
(() => {
  const MISSING = "–";
  const RAMPS = {
    light: ["#3b0f70", "#8c2981", "#de4968", "#fe9f6d", "#e9d66b"],
    dark: ["#7b62d9", "#b9509f", "#ef6a7b", "#ffac74", "#f4ea9a"],
  };

  /** An element with attributes and children; text is text, whatever is in it. */
  function make(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
      else if (value === true) made.setAttribute(name, "");
      else if (value !== false && value !== null) made.setAttribute(name, value);
    }
    made.append(...children);
    return made;
  }

  const infinite = (value) => (value === "inf" ? Infinity : value === "-inf" ? -Infinity : value);

  /** Four digits (of a whole number all), a true minus sign, a dash for what is missing. */
  function shown(value, whole = false) {
    if (value === null || value === undefined) return MISSING;
    if (typeof value !== "number") return String(value);
    if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
    const large = Math.abs(value) >= 1e5 || (value !== 0 && Math.abs(value) < 1e-4);
    const text = whole ? String(value) : large ? value.toExponential(3) : String(Number(value.toPrecision(4)));
    return text.replace(/\.?0*e\+?/, "e").replaceAll("-", "−");
  }

  const brief = (text) => (text.length > 18 ? `${text.slice(0, 17)}…` : text);

  // ---- theme, and what is copied

  const root = document.documentElement;
  const listeners = [];
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);

  function themed() {
    const button = document.getElementById("theme");
    const tell = () => {
      button.textContent = isDark() ? "Light" : "Dark";
      button.setAttribute("aria-label", isDark() ? "Use the light theme" : "Use the dark theme");
      listeners.forEach((listener) => listener());
    };
    button.hidden = false;
    button.addEventListener("click", () => {
      root.dataset.theme = isDark() ? "light" : "dark";
      try {
        localStorage.setItem("initbench-theme", root.dataset.theme);
      } catch (error) {
        // where nothing may be stored the choice lasts as long as the page
      }
      tell();
    });
    system.addEventListener("change", tell);
    tell();
  }

  function copying() {
    for (const button of document.querySelectorAll(".copies")) {
      const source = document.getElementById(button.dataset.of);
      button.hidden = false;
      button.addEventListener("click", async () => {
        try {
          await navigator.clipboard.writeText(source.textContent);
          button.textContent = "Copied";
        } catch (error) {
          getSelection().selectAllChildren(source);
          button.textContent = "Selected";
        }
      });
    }
  }

  // ---- data: columns of numbers or of places among levels

  class Data {
    constructor(told) {
      Object.assign(this, told);
      for (const column of this.columns) {
        if (column.numeric) {
          if (column.values) column.values = column.values.map(infinite);
          else column.levels = column.levels.map(infinite);
        }
      }
      this.all = Array.from({ length: this.rows }, (_, row) => row);
      this.kept = new Map(); // column -> [low, high] of numbers, or places among levels: ranges on axes
      this.chosen = new Map(); // column -> set of levels
      this.words = [];
    }

    value(column, row) {
      const told = this.columns[column];
      return told.values ? told.values[row] : told.levels[told.codes[row]];
    }

    text(row) {
      this.texts ??= new Array(this.rows);
      this.texts[row] ??= this.columns.map((_, column) => shown(this.value(column, row), this.columns[column].whole)).join("\n").toLowerCase();
      return this.texts[row];
    }

    /** Rows that the search and the choices of levels keep. */
    searched() {
      const chosen = [...this.chosen].filter(([, levels]) => levels.size);
      return this.all.filter(
        (row) =>
          chosen.every(([column, levels]) => levels.has(this.columns[column].codes[row])) &&
          this.words.every((word) => this.text(row).includes(word)),
      );
    }

    /** Of `rows` those in every range. */
    within(rows) {
      const kept = [...this.kept];
      return rows.filter((row) =>
        kept.every(([column, ranges]) => {
          const at = this.place(column, row);
          return at !== null && ranges.some(([low, high]) => low <= at && at <= high);
        }),
      );
    }

    /** Where a row is on a column's axis: its number, or its place among words; null if it is missing. */
    place(column, row) {
      const told = this.columns[column];
      if (this.isCategory(column)) return told.codes[row];
      const value = this.value(column, row);
      return value === null || !Number.isFinite(value) ? null : value;
    }

    isCategory(column) {
      const told = this.columns[column];
      return !told.values && (!told.numeric || told.levels.length <= 12);
    }
  }

  // ---- parallel coordinates

  class Lines {
    constructor(element, data, changed) {
      this.element = element;
      this.data = data;
      this.chart = echarts.init(element, null, { renderer: "canvas" });
      this.rows = data.all;
      this.draw();
      this.chart.on("axisareaselected", (event) => {
        const place = Number(String(event.parallelAxisId).slice(1));
        if (event.intervals.length) data.kept.set(place, event.intervals.map(([a, b]) => [Math.min(a, b), Math.max(a, b)]));
        else data.kept.delete(place);
        changed();
      });
      new ResizeObserver(() => this.chart.resize()).observe(element);
      listeners.push(() => this.draw());
    }

    axis(column, dim) {
      const { data } = this;
      const told = data.columns[column];
      const common = { dim, id: `c${column}`, name: told.title, realtime: false };
      if (data.isCategory(column)) {
        return { ...common, type: "category", data: told.levels.map((level) => brief(shown(level, told.whole))), axisLabel: { interval: 0 } };
      }
      const known = data.all.map((row) => data.place(column, row)).filter((value) => value !== null);
      const low = known.reduce((a, b) => Math.min(a, b), Infinity);
      const high = known.reduce((a, b) => Math.max(a, b), -Infinity);
      const log = low > 0 && high > 30 * low && (high > 1 || low < 0.001); // an accuracy is none
      return { ...common, type: log ? "log" : "value", scale: true, axisLabel: { formatter: (value) => shown(Number(value.toPrecision(3))) } };
    }

    draw() {
      const { data } = this;
      const style = getComputedStyle(root);
      const ink = style.getPropertyValue("--ink"), soft = style.getPropertyValue("--soft"), back = `${style.getPropertyValue("--page").trim()}c0`;
      const paint = { nameTextStyle: { color: ink, fontSize: 12 }, axisLine: { lineStyle: { color: soft } }, axisTick: { lineStyle: { color: soft } } };
      const axes = data.axes.map((column, dim) => {
        const axis = this.axis(column, dim);
        return { ...axis, ...paint, axisLabel: { ...axis.axisLabel, color: soft, fontSize: 11, backgroundColor: back, padding: [1, 2] } };
      });
      const color = data.axes.indexOf(data.color);
      const known = color < 0 ? [] : data.all.map((row) => data.place(data.color, row)).filter((value) => value !== null);
      this.chart.setOption({
        animation: false,
        parallel: { left: 55, right: 75, top: 36, bottom: 28, parallelAxisDefault: { areaSelectStyle: { width: 18, opacity: 0.25 } } },
        parallelAxis: axes,
        visualMap: known.length ? {
          show: false, type: "continuous", dimension: color, inRange: { color: isDark() ? RAMPS.dark : RAMPS.light }, outOfRange: { color: "#999" },
          min: known.reduce((a, b) => Math.min(a, b)), max: known.reduce((a, b) => Math.max(a, b)),
        } : undefined,
        series: [{
          type: "parallel", data: this.lines(), progressive: 2000, silent: true, smooth: 0,
          lineStyle: { width: 1, opacity: this.opacity(), color: "#5a7fa8" },
          inactiveOpacity: 0.015, activeOpacity: Math.min(1, 2 * this.opacity()),
        }],
      });
      this.brush();
    }

    opacity() {
      return Math.max(0.06, Math.min(0.8, 150 / Math.max(1, this.rows.length)));
    }

    lines() {
      const { data } = this;
      return this.rows.map((row) => data.axes.map((column) => data.place(column, row) ?? "-"));
    }

    show(rows) {
      this.rows = rows;
      this.chart.setOption({ series: [{ data: this.lines(), lineStyle: { opacity: this.opacity() }, activeOpacity: Math.min(1, 2 * this.opacity()) }] });
    }

    /** Show the ranges that are kept, where one was set elsewhere. */
    brush() {
      for (const column of this.data.axes) {
        const intervals = this.data.kept.get(column) ?? [];
        this.chart.dispatchAction({ type: "axisAreaSelect", parallelAxisId: `c${column}`, intervals }, { silent: true });
      }
    }
  }

  // ---- a table with its tools

  class Grid {
    constructor(element) {
      this.element = element;
      this.name = element.id;
      this.data = new Data(JSON.parse(document.getElementById(`${this.name}-data`).textContent));
      this.tools();
      this.table();
      const lines = element.querySelector(".lines");
      if (lines && this.data.axes.length) this.lines = new Lines(lines, this.data, () => this.filter(false));
    }

    table() {
      const { data } = this;
      const columns = data.columns.map((told, place) => ({
        field: `c${place}`,
        title: told.title,
        visible: told.visible,
        sorter: told.numeric ? "number" : "alphanum",
        sorterParams: { alignEmptyValues: "bottom" },
        headerSortStartingDir: told.numeric ? "desc" : "asc",
        hozAlign: told.numeric ? "right" : "left",
        headerHozAlign: told.numeric ? "right" : "left",
        maxInitialWidth: 320,
        titleFormatter: () => make("span", { title: told.help || null }, told.title.replaceAll("_", " ")),
        formatter: (cell) => this.cell(told, cell.getValue()),
      }));
      const rows = data.all.map((row) => {
        const made = { row };
        data.columns.forEach((_, column) => (made[`c${column}`] = data.value(column, row)));
        return made;
      });
      const height = data.rows > 14 ? { height: "30rem" } : {};
      this.grid = new Tabulator(this.element.querySelector(".rows"), {
        data: rows, columns, index: "row", layout: "fitDataFill", movableColumns: true, ...height,
        placeholder: "No row is left by these filters.",
        initialSort: data.sort ? [{ column: `c${data.sort[0]}`, dir: data.sort[1] }] : [],
        columnDefaults: { headerSortTristate: false },
      });
      this.grid.on("tableBuilt", () => this.reachable());
      this.grid.on("renderComplete", () => this.element.dataset.ready = "yes");
    }

    cell(told, value) {
      const tone = told.tones?.[told.levels.indexOf(value)];
      const text = shown(value, told.whole);
      return tone ? make("span", { class: `word ${tone}` }, text) : make("span", { title: text.length > 40 ? text : null }, text);
    }

    /** Headers by keyboard, and names for screen readers. */
    reachable() {
      const element = this.element.querySelector(".tabulator");
      element.setAttribute("aria-label", this.element.dataset.title);
      element.setAttribute("aria-rowcount", String(this.data.rows));
      for (const header of element.querySelectorAll(".tabulator-col")) header.tabIndex = 0;
      element.querySelector(".tabulator-tableholder").setAttribute("aria-label", "Rows");
      element.addEventListener("keydown", (event) => {
        const header = event.target.closest(".tabulator-col");
        if (header === event.target && (event.key === "Enter" || event.key === " ")) {
          event.preventDefault();
          const down = header.getAttribute("aria-sort") === "descending";
          this.grid.setSort(header.getAttribute("tabulator-field"), down ? "asc" : "desc");
        }
      });
      this.filter(false);
    }

    tools() {
      const tools = this.element.querySelector(".tools");
      const { data } = this;
      this.search = make("input", { type: "search", placeholder: "Search", "aria-label": `Search in ${this.element.dataset.title}` });
      let waiting;
      this.search.addEventListener("input", () => {
        clearTimeout(waiting);
        waiting = setTimeout(() => this.filter(true), 120);
      });
      tools.append(this.search);
      data.columns.forEach((told, column) => {
        if (told.choose && told.visible) tools.append(this.choices(told, column));
      });
      if (this.element.querySelector(".lines")) tools.append(this.ranges());
      tools.append(this.visible());
      tools.append(make("button", { type: "button", onclick: () => this.grid.download("csv", `${this.name}.csv`) }, "Download these rows"));
      this.reset = make("button", { type: "button", hidden: true, onclick: () => this.clear() }, "Show all rows");
      this.chips = make("span", { class: "chips" });
      tools.append(this.chips, this.reset);
    }

    menu(label, ...inside) {
      const menu = make("details", { class: "menu" }, make("summary", {}, label), make("div", {}, ...inside));
      menu.addEventListener("keydown", (event) => {
        if (event.key === "Escape") {
          menu.open = false;
          menu.querySelector("summary").focus();
        }
      });
      menu.addEventListener("toggle", () => { // within the page, however near its edge the button is
        const choices = menu.lastElementChild;
        choices.style.left = "";
        const beyond = choices.getBoundingClientRect().right - document.documentElement.clientWidth;
        if (beyond > 0) choices.style.left = `${-beyond}px`;
      });
      return menu;
    }

    choices(told, column) {
      const chosen = new Set();
      this.data.chosen.set(column, chosen);
      const boxes = told.levels.map((level, code) => {
        const box = make("input", { type: "checkbox", onchange: () => {
          if (box.checked) chosen.add(code);
          else chosen.delete(code);
          menu.classList.toggle("on", chosen.size > 0);
          this.filter(true);
        } });
        return make("label", {}, box, shown(level, told.whole));
      });
      const menu = this.menu(told.title.replaceAll("_", " "), ...boxes);
      menu.dataset.column = told.title;
      return menu;
    }

    /** A range without a mouse: what dragging along an axis does. */
    ranges() {
      const { data } = this;
      const numbers = data.columns.map((told, column) => [told, column]).filter(([told]) => told.numeric && told.visible);
      const which = make("select", { name: "column" }, ...numbers.map(([told, column]) => make("option", { value: column }, told.title)));
      const low = make("input", { type: "number", step: "any", name: "low" });
      const high = make("input", { type: "number", step: "any", name: "high" });
      const form = make("form", { onsubmit: (event) => {
        event.preventDefault();
        this.keep(Number(which.value), low.value === "" ? -Infinity : Number(low.value), high.value === "" ? Infinity : Number(high.value));
      } },
        make("label", {}, "of ", which), make("label", {}, "from ", low), make("label", {}, "to ", high), make("button", {}, "Keep"));
      const menu = this.menu("Keep a range", form);
      menu.dataset.column = "range";
      return menu;
    }

    keep(column, low, high) {
      const { data } = this;
      const told = data.columns[column];
      const ends = data.isCategory(column)
        ? told.levels.map((level, code) => [level, code]).filter(([level]) => level !== null && low <= level && level <= high).map(([, code]) => code)
        : data.all.map((row) => data.place(column, row)).filter((value) => value !== null && low <= value && value <= high);
      const from = ends.reduce((a, b) => Math.min(a, b), Infinity), to = ends.reduce((a, b) => Math.max(a, b), -Infinity);
      data.kept.set(column, [ends.length ? [from, to] : [Infinity, Infinity]]);
      this.lines?.brush();
      this.filter(false);
    }

    visible() {
      const boxes = this.data.columns.map((told, place) => {
        const box = make("input", { type: "checkbox", checked: told.visible, onchange: () => {
          if (box.checked) this.grid.showColumn(`c${place}`);
          else this.grid.hideColumn(`c${place}`);
        } });
        return make("label", {}, box, told.title.replaceAll("_", " "));
      });
      const menu = this.menu("Columns", ...boxes);
      menu.dataset.column = "columns";
      return menu;
    }

    clear() {
      this.search.value = "";
      this.data.kept.clear();
      for (const chosen of this.data.chosen.values()) chosen.clear();
      for (const menu of this.element.querySelectorAll(".menu:not([data-column=columns])")) {
        menu.classList.remove("on");
        for (const box of menu.querySelectorAll("input[type=checkbox]")) box.checked = false;
      }
      this.lines?.brush();
      this.filter(true);
    }

    /** Show the rows that search, choices and ranges keep; `lines`: whether the lines change with them. */
    filter(lines) {
      const { data } = this;
      data.words = this.search.value.toLowerCase().replaceAll("−", "-").replaceAll("-", "−").split(/\s+/).filter(Boolean);
      const searched = data.searched();
      const kept = new Set(data.within(searched));
      if (kept.size === data.rows) this.grid.clearFilter();
      else this.grid.setFilter((made) => kept.has(made.row));
      if (lines && this.lines) {
        this.lines.show(searched);
        this.lines.brush();
      }
      this.tell(kept.size);
    }

    tell(count) {
      const { data } = this;
      const all = data.rows.toLocaleString("en"), some = count.toLocaleString("en");
      this.element.querySelector(".count").textContent = count === data.rows ? `${all} rows` : `${some} of ${all} rows`;
      this.reset.hidden = count === data.rows;
      this.chips.replaceChildren(...[...data.kept].map(([column, ranges]) => {
        const told = data.columns[column];
        const end = (value) => (data.isCategory(column) ? shown(told.levels[Math.round(value)] ?? null, told.whole) : shown(Number(value.toPrecision(3))));
        const text = ranges.map(([low, high]) => (Number.isFinite(low) ? `${end(low)} to ${end(high)}` : "none")).join(", ");
        return make("button", { type: "button", class: "chip", "aria-label": `Let go of the range of ${told.title}`, onclick: () => {
          data.kept.delete(column);
          this.lines?.brush();
          this.filter(false);
        } }, `${told.title} ${text} ×`);
      }));
    }
  }

  function start() {
    themed();
    copying();
    document.addEventListener("click", (event) => {
      for (const menu of document.querySelectorAll(".menu[open]")) if (!menu.contains(event.target)) menu.open = false;
    });
    // after the first paint: who reads the answer does not wait for the tables
    requestAnimationFrame(() => setTimeout(() => {
      for (const element of document.querySelectorAll(".grid")) new Grid(element);
      performance.mark("grids");
    }));
  }

  start();
})();
