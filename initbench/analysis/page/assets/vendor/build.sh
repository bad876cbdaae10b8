#!/usr/bin/env bash
# Makes the three minified files here anew: the parts of Tabulator and ECharts that the page uses, each in one file.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$here"/table.js "$here"/parallel.js "$work"
cd "$work"
npm install --silent --no-fund --no-audit esbuild@0.28.2 tabulator-tables@6.5.3 echarts@6.1.0
for name in table parallel; do
    npx esbuild $name.js --bundle --minify --format=iife --legal-comments=none --outfile="$here/$name.min.js"
done
npx esbuild node_modules/tabulator-tables/dist/css/tabulator.min.css --minify --outfile="$here/table.min.css"
