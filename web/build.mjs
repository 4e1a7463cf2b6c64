// Builds the page's parts into the Python package: the same input gives the same bytes.
import { build } from "esbuild";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const target = new URL(process.argv[2] ? `file://${process.argv[2]}/` : "../src/diabolo/explorer/static/", import.meta.url);
const source = new URL("src/", import.meta.url);
const runtime = new URL("node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm", import.meta.url);
const common = { bundle: true, minify: true, write: false, target: "es2022", charset: "utf8", legalComments: "none", logLevel: "warning" };
const made = async (name, options = {}) => {
  const { outputFiles } = await build({ ...common, ...options, entryPoints: [fileURLToPath(new URL(name, source))] });
  return outputFiles[0].text;
};
// The worker is a classic script: a page on a disk may start no module worker.
// Inside a page no script may hold the words that end it.
const safe = (text) => text.replaceAll("</script", "<\\/script").replaceAll("<!--", "<\\!--");

await mkdir(target, { recursive: true });
await writeFile(new URL("explorer.js", target), safe(await made("main.ts", { format: "esm" })));
await writeFile(new URL("explorer.css", target), await made("style.css"));
await writeFile(new URL("worker.js", target), await made("worker.ts", { format: "iife", define: { "import.meta.url": "self.location.href" } }));
await writeFile(new URL("ort.wasm.gz", target), gzipSync(await readFile(runtime), { level: 9 }));
