/** A package's tests and its sources, in one module, with all mutants of its targets in them. */
import { createHash } from "node:crypto"
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join, relative } from "node:path"
import { fileURLToPath } from "node:url"
import { build } from "esbuild"
import { mutantsOf } from "./mutants.mjs"

export const root = fileURLToPath(new URL("../..", import.meta.url))
const folder = join(root, "node_modules/.cache/mutate")

const filesUnder = (path) =>
  readdirSync(path, { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? filesUnder(join(path, entry.name)) : [join(path, entry.name)]
  )

/** Sources by the names of the packages, as `vitest.shared.ts` has them. */
const sources = (texts) => ({
  name: "sources",
  setup: ({ onLoad, onResolve }) => {
    onResolve({ filter: /^@millrace\// }, ({ path: name }) => {
      const [, pkg, module = "index"] = name.split("/")
      const isFolder = ["testing", "emulator", "cloudwatch", "lambda"].includes(module)
      return { path: join(root, "packages", pkg, "src", isFolder ? `${module}/index.ts` : `${module}.ts`) }
    })
    onResolve({ filter: /^(@effect\/)?vitest$/ }, () => ({
      path: fileURLToPath(new URL("vitest.mjs", import.meta.url))
    }))
    onResolve({ filter: /^[^./]/ }, ({ path: name }) =>
      name.startsWith(root) ? undefined : { external: true, path: name }
    )
    onLoad({ filter: /\.ts$/ }, ({ path }) =>
      texts.has(path) ? { contents: texts.get(path), loader: "ts" } : undefined
    )
  }
})

/** Of each property a few seeds are tried: more of them find what is rare, and a line that is missing is not. */
const withFewSeeds = () => {
  const path = join(root, "packages/core/src/testing/Simulation.ts")
  const source = readFileSync(path, "utf8")
  const text = source.replace("Array.from({ length: seeds }", "Array.from({ length: Math.min(seeds, 3) }")
  if (text === source) throw new Error(`${path} counts its seeds otherwise: mend test/mutate/bundle.mjs`)
  return { path, text }
}

const hashOf = (text) => createHash("sha256").update(text).digest("hex").slice(0, 16)

/** `measures` is where to keep what is known of its tests: for as long as they, and what is mutated, stay as they are. */
export const bundleOf = async ({ files, pkg, tests }) => {
  const all = ["src", "test"].flatMap((part) => filesUnder(join(root, "packages", pkg, part)))
  const mutants = []
  const texts = new Map()
  for (const file of files) {
    const [path, ...others] = all.filter((path) => path.endsWith(`/${file}`) && path.includes("/src/"))
    if (path === undefined) throw new Error(`there is no ${file} in ${pkg}: mend test/mutate/targets.mjs`)
    if (others.length > 0)
      throw new Error(`${pkg} has more than one ${file}: name its folder in test/mutate/targets.mjs`)
    const made = mutantsOf(path, readFileSync(path, "utf8"), mutants.length + 1)
    for (const mutant of made.mutants) mutants.push({ ...mutant, pkg, file, path: relative(root, path) })
    texts.set(path, made.text)
  }
  const { path: simulation, text: fewer } = withFewSeeds()
  texts.set(simulation, fewer)
  const imports = all.filter(tests).map((path) => `import ${JSON.stringify(path)}`)
  const { outputFiles } = await build({
    stdin: { contents: [...imports, `export { tests } from "vitest"`].join("\n"), resolveDir: root },
    bundle: true,
    write: false,
    format: "esm",
    platform: "node",
    target: "node20",
    ignoreAnnotations: true,
    plugins: [sources(texts)],
    logLevel: "error"
  })
  const [{ text }] = outputFiles
  // What tests share counts too, and which of them are chosen does not.
  const tested = all.filter((path) => path.includes(`/${pkg}/test/`)).map((path) => readFileSync(path, "utf8"))
  const path = join(folder, `${pkg}-${hashOf(text)}.mjs`)
  mkdirSync(folder, { recursive: true })
  writeFileSync(path, text)
  return { path, mutants, measures: join(folder, `${pkg}-${hashOf([...texts.values(), ...tested].join())}.json`) }
}
