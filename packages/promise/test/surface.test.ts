/** No type of Effect, nor of Millrace's other packages, can be reached from what users import. */
import { fileURLToPath } from "node:url"
import ts from "typescript"
import { expect, it } from "vitest"

const src = fileURLToPath(new URL("../src/", import.meta.url))

it("the emitted types import nothing of Effect", () => {
  const root = fileURLToPath(new URL("../../../", import.meta.url))
  const config = ts.readConfigFile(`${root}tsconfig.base.json`, ts.sys.readFile).config
  const { options } = ts.convertCompilerOptionsFromJson(config.compilerOptions, root)
  const declarations = new Map<string, string>()
  const program = ts.createProgram([`${src}index.ts`, `${src}testing/index.ts`], {
    ...options,
    composite: false,
    incremental: false,
    noCheck: true,
    declarationMap: false,
    emitDeclarationOnly: true
  })
  program.emit(undefined, (path, text) => declarations.set(path, text), undefined, true)
  const seen = new Set<string>()
  const foreign = new Set<string>()
  const visit = (path: string) => {
    if (seen.has(path)) return
    seen.add(path)
    const text = declarations.get(path)
    if (text === undefined) throw new Error(`${path} was not emitted`)
    for (const { fileName } of ts.preProcessFile(text).importedFiles) {
      if (fileName.startsWith(".")) visit(new URL(fileName.replace(/\.js$/, ".d.ts"), `file://${path}`).pathname)
      else foreign.add(fileName)
    }
  }
  visit(`${src}index.d.ts`)
  visit(`${src}testing/index.d.ts`)
  expect(seen.size).toBeGreaterThan(5)
  expect([...foreign].sort()).toEqual(["@aws-sdk/client-sqs", "@standard-schema/spec", "node:events"])
  expect([...seen].filter((path) => path.includes("internal"))).toEqual([])
})

it("loads none of the test tools but the store in memory", () => {
  const tools = ts.sys
    .readDirectory(src, [".ts"], ["testing"])
    .flatMap((path) => ts.preProcessFile(ts.sys.readFile(path) ?? "").importedFiles)
    .map(({ fileName }) => fileName)
    .filter((name) => /\/(testing|emulator)(\/|$)/.test(name))
  expect([...new Set(tools)]).toEqual(["@millrace/core/testing/MemoryIdempotencyStore"])
})
