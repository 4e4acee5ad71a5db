import { readFile } from "node:fs/promises"
import { join } from "node:path"
import type { Plugin } from "vite"
import { type Block, type Page, pages, root } from "./pages.js"

/** A block of TypeScript as a module of its own, at a path where there is no file. */
export interface Module {
  readonly path: string
  readonly page: string
  /** Where its first line stands in the page, counted from 0. */
  readonly line: number
  readonly text: string
  /** The names that it uses without importing them, and where they come from. */
  readonly given: ReadonlyArray<readonly [name: string, from: string]>
}

const namesIn = async (path: string, pattern: RegExp): Promise<ReadonlyArray<string>> =>
  [...(await readFile(join(root, path), "utf8")).matchAll(pattern)].map(([, name = ""]) => name)

/** Which names a block may use without importing them, and where they come from. */
const known = async (): Promise<ReadonlyMap<string, string>> => {
  const found = new Map<string, string>()
  const add = (from: string, names: ReadonlyArray<string>) => {
    for (const name of names) if (!found.has(name) && !(name in globalThis) && name !== "Record") found.set(name, from)
  }
  const barrel = /^export \* as (\w+) from/gm
  add("@millrace/core", await namesIn("packages/core/src/index.ts", barrel))
  add("@millrace/sqs", await namesIn("packages/sqs/src/index.ts", barrel))
  add("@millrace/sqs/cloudwatch", await namesIn("packages/sqs/src/cloudwatch/index.ts", barrel))
  add("@millrace/http", await namesIn("packages/http/src/index.ts", barrel))
  add("@millrace/sqs/lambda", await namesIn("packages/sqs/src/lambda/index.ts", barrel))
  add("@millrace/dashboard", await namesIn("packages/dashboard/src/index.ts", barrel))
  for (const name of ["sql", "redis", "dynamodb"]) {
    add(`@millrace/${name}`, await namesIn(`packages/${name}/src/index.ts`, barrel))
  }
  add("@millrace/core/testing", await namesIn("packages/core/src/testing/index.ts", barrel))
  add("@millrace/sqs/emulator", await namesIn("packages/sqs/src/emulator/index.ts", barrel))
  add("./names.js", await namesIn("test/docs/names.ts", /^export (?:declare )?(?:const|class) (\w+)/gm))
  add("@effect/vitest", ["it", "expect"])
  add("@effect/platform-node", ["NodeRuntime", "NodeHttpServer"])
  add("@aws-sdk/client-sqs", ["SQSClient"])
  add("@effect-aws/client-sqs", ["SQSService"])
  add("effect", await namesIn("node_modules/effect/src/index.ts", barrel))
  return found
}

const word = (name: string) => `(?<![\\w$.])${name.replaceAll("$", "\\$")}(?![\\w$])`
const declares = (code: string, name: string) =>
  [
    `^(?:export )?(?:declare )?(?:const|let|function\\*?|class|type|interface) ${word(name)}`,
    `^import [^;]*?${word(name)}[^;]*? from `
  ].some((pattern) => new RegExp(pattern, "m").test(code))

// A block that yields is the inside of a generator.
const yields = (code: string): boolean => /^(?:const [^=]+ = )?yield\*/m.test(code)

const givenTo = (code: string, from: ReadonlyMap<string, string>): Module["given"] =>
  [...from]
    .filter(([name]) => (yields(code) && name === "Effect") || new RegExp(word(name)).test(code))
    .filter(([name]) => !declares(code, name))

/** Imports what the block does not, all on its first line, so that its own lines keep their distance. */
const textOf = (code: string, given: Module["given"]): string => {
  const imports = given.map(([name, path]) => `import { ${name} } from "${path}";`)
  const [before, after] = yields(code) ? ["export const inside = Effect.gen(function* () {", "})"] : ["", "export {}"]
  return `${imports.join(" ")} ${before}\n${code}\n${after}\n`
}

const moduleOf = ({ path }: Page, { code, language, line }: Block, from: ReadonlyMap<string, string>): Module => {
  // Blocks of JavaScript are for who knows none of the names that the others are given: they import what they use.
  const given = language === "js" ? [] : givenTo(code, from)
  return {
    path: join(root, "test/docs", `${path.replaceAll("/", "_")}.${line}.ts`).replaceAll("\\", "/"),
    page: path,
    line,
    text: textOf(code, given),
    given
  }
}

/** Every block of TypeScript in every page, and of JavaScript: the types of what it uses hold for it too. */
export const modules = async (): Promise<ReadonlyArray<Module>> => {
  const from = await known()
  return (await pages()).flatMap((page) =>
    page.blocks
      .filter(({ language }) => language === "ts" || language === "js")
      .map((block) => moduleOf(page, block, from))
  )
}

/** Lets a test import the blocks by their paths. */
export const plugin = (): Plugin => {
  let all: Promise<ReadonlyArray<Module>> | undefined
  const find = async (path: string) => {
    all ??= modules()
    return (await all).find((module) => module.path === path)
  }
  return {
    name: "docs",
    enforce: "pre",
    resolveId: async (id) => (await find(id))?.path,
    load: async (id) => (await find(id))?.text
  }
}
