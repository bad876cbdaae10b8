import {
  DownloadModule, ExportModule, FilterModule, FormatModule, FrozenColumnsModule, InteractionModule, MoveColumnsModule,
  ResizeColumnsModule, ResizeTableModule, SortModule, Tabulator,
} from "tabulator-tables";

Tabulator.registerModule([
  DownloadModule, ExportModule, FilterModule, FormatModule, FrozenColumnsModule, InteractionModule, MoveColumnsModule,
  ResizeColumnsModule, ResizeTableModule, SortModule,
]);
globalThis.Tabulator = Tabulator;
