// Bundles the page into `dist`, which is committed: a build of the Rust crate needs no Node.
//
//   node build.mjs            dist/index.html, dist/assets/app-HASH.js, dist/assets/app-HASH.css, and the table of them
//                             in dist/files.rs, which crates/qmp-http/src/page_files.rs includes
//   node build.mjs --tests    build/test, build/e2e and build/e2e-hub, for `node --test`: pure code, the page in a
//                             browser with records in memory, and with a hub (scripts/test)
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

process.chdir(dirname(fileURLToPath(import.meta.url)));

/** What a reader downloads at most before the first picture. Rust tests the sizes that are not compressed. */
const SCRIPT_GZIP_MAX_BYTES = 55 * 1024;

/** The text around the markup is the same on each page; the program reads the path. */
function page(script, style) {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>qmp-events</title>
<link rel="stylesheet" href="/assets/${style}">
<script type="module" src="/assets/${script}"></script>
</head>
<body>
<noscript>This page needs JavaScript. Without it, <code>qmp log</code> and <code>qmp status</code> show the same.</noscript>
</body>
</html>
`;
}

/** The files with a hash in their names, for Rust. */
function table(names) {
  const rows = names.map((name) => `    ("${name}", include_bytes!("assets/${name}").as_slice()),\n`);
  return `// Written by web/build.mjs.\n[\n${rows.join("")}]\n`;
}

async function buildPage() {
  const result = await build({
    entryPoints: { app: "src/main.tsx", style: "src/style.css" },
    bundle: true,
    minify: true,
    write: false,
    outdir: "out",
    format: "esm",
    target: "es2022",
    jsx: "automatic",
    jsxImportSource: "preact",
    banner: { js: "/*! Contains Preact, under the MIT licence; see THIRDPARTY. */" },
    legalComments: "none",
  });
  rmSync("dist", { recursive: true, force: true });
  mkdirSync("dist/assets", { recursive: true });
  const names = {};
  for (const { path, contents } of result.outputFiles) {
    const extension = path.endsWith(".css") ? "css" : "js";
    const hash = createHash("sha256").update(contents).digest("hex").slice(0, 12);
    // The JavaScript's own style sheet (there is none) would take the name of the page's.
    if (names[extension]) throw new Error(`two files of type ${extension}`);
    if (extension === "js" && gzipSync(contents, { level: 9 }).length > SCRIPT_GZIP_MAX_BYTES) {
      throw new Error(`the script has more than ${SCRIPT_GZIP_MAX_BYTES} bytes when compressed`);
    }
    names[extension] = `app-${hash}.${extension}`;
    writeFileSync(`dist/assets/${names[extension]}`, contents);
    console.log(`dist/assets/${names[extension]}  ${contents.length} bytes`);
  }
  writeFileSync("dist/index.html", page(names.js, names.css));
  writeFileSync("dist/files.rs", table([names.js, names.css]));
}

async function buildTests() {
  const scripts = (folder) =>
    readdirSync(folder)
      .filter((name) => name.endsWith(".ts"))
      .map((name) => `${folder}/${name}`);
  await build({
    entryPoints: ["test", "e2e", "e2e-hub"].flatMap(scripts),
    bundle: true,
    outdir: "build",
    outbase: ".",
    outExtension: { ".js": ".mjs" },
    format: "esm",
    platform: "node",
    target: "node20",
    packages: "external",
    jsx: "automatic",
    jsxImportSource: "preact",
  });
}

if (process.argv.includes("--tests")) await buildTests();
else await buildPage();
