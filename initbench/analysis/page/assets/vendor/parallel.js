import { ParallelChart } from "echarts/charts";
import { ParallelComponent, VisualMapContinuousComponent } from "echarts/components";
import * as echarts from "echarts/core";
import { CanvasRenderer } from "echarts/renderers";

echarts.use([ParallelChart, ParallelComponent, VisualMapContinuousComponent, CanvasRenderer]);
globalThis.echarts = { init: echarts.init };
