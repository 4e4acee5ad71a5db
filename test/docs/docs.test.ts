/**
 * The pages stay true: their code compiles against the present sources and runs where it is a test or a program, their
 * links lead somewhere, and the commands that they name exist.
 */
import { existsSync } from "node:fs"
import { readFile } from "node:fs/promises"
import { dirname, join } from "node:path"
import ts from "typescript"
import { describe, expect, it, vi } from "vitest"
import { type Module, modules } from "./modules.js"
import { type Page, pages, root } from "./pages.js"

const all = await pages()
const code = await modules()

/** The compiler over modules that are nowhere on the disk. */
const errorsOf = (modules: ReadonlyMap<string, Module>): ReadonlyArray<ts.Diagnostic> => {
  const config = ts.readConfigFile(join(root, "tsconfig.base.json"), ts.sys.readFile).config
  const { options } = ts.convertCompilerOptionsFromJson(config.compilerOptions, root)
  Object.assign(options, {
    noEmit: true,
    composite: false,
    declaration: false,
    declarationMap: false,
    sourceMap: false,
    // An example may show more than it uses.
    noUnusedLocals: false,
    noUnusedParameters: false,
    verbatimModuleSyntax: false,
    paths: Object.fromEntries(
      ["core", "sqs", "http", "dashboard", "sql", "redis", "dynamodb", "promise"].flatMap((name) => [
        [`@millrace/${name}`, [`${root}packages/${name}/src/index.ts`]],
        [`@millrace/${name}/testing`, [`${root}packages/${name}/src/testing/index.ts`]],
        [`@millrace/${name}/emulator`, [`${root}packages/${name}/src/emulator/index.ts`]],
        [`@millrace/${name}/lambda`, [`${root}packages/${name}/src/lambda/index.ts`]],
        [`@millrace/${name}/cloudwatch`, [`${root}packages/${name}/src/cloudwatch/index.ts`]],
        [`@millrace/${name}/*`, [`${root}packages/${name}/src/*.ts`]]
      ])
    )
  } satisfies ts.CompilerOptions)
  const host = ts.createCompilerHost(options)
  const { fileExists, getSourceFile, readFile } = host
  host.fileExists = (path) => modules.has(path) || fileExists(path)
  host.readFile = (path) => modules.get(path)?.text ?? readFile(path)
  host.getSourceFile = (path, version, ...rest) => {
    const text = modules.get(path)?.text
    return text === undefined ? getSourceFile(path, version, ...rest) : ts.createSourceFile(path, text, version)
  }
  const program = ts.createProgram([...modules.keys()], options, host)
  return [...modules.keys()].flatMap((path) => {
    const source = program.getSourceFile(path)
    return [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)]
  })
}

describe("the code in the pages", () => {
  it("compiles", { timeout: 180_000 }, () => {
    expect(code.length).toBeGreaterThan(20)
    const byPath = new Map(code.map((module) => [module.path, module]))
    const errors = errorsOf(byPath).map(({ file, messageText, start }) => {
      const { line = 0, page } = byPath.get(file?.fileName ?? "") ?? {}
      // The first line of a module is ours.
      const within = file === undefined || start === undefined ? 0 : file.getLineAndCharacterOfPosition(start).line
      return `${page}:${line + Math.max(1, within)}: ${ts.flattenDiagnosticMessageText(messageText, "\n")}`
    })
    expect(errors.join("\n")).toBe("")
  })

  it("can be copied: where a name comes from that a block does not import is one click away", () => {
    const imports = all.find(({ path }) => path === "docs/imports.md")?.text ?? ""
    const listed = new Map(
      [...imports.matchAll(/^import \{ ([^}]+) \} from "([^"]+)"$/gm)].map(([, names = "", from = ""]) => [
        from,
        names.split(", ")
      ])
    )
    const unlisted = code
      .flatMap(({ given }) => given)
      .filter(([name, from]) => from !== "./names.js" && listed.get(from)?.includes(name) !== true)
    expect([...new Set(unlisted.map(([name, from]) => `${name} of ${from}`))]).toEqual([])
    const unlinked = new Set(code.filter(({ given }) => given.length > 0).map(({ page }) => page))
    for (const { path, text } of all) if (/\]\([^)]*imports\.md\)/.test(text)) unlinked.delete(path)
    expect([...unlinked]).toEqual([])
  })

  it("is JSON where it says so", () => {
    for (const { blocks } of all) {
      for (const { code, language } of blocks) if (language === "json") JSON.parse(code)
    }
  })
})

const tests = code.filter(({ text }) => /^it(\.\w+)?\(/m.test(text))
describe.each(tests.map((module) => [module.page, module.line, module] as const))(
  "the test at %s:%i",
  async (_page, _line, { path }) => {
    await import(path)
  }
)

const programs = code.filter(({ text }) => /^await Effect\.runPromise/m.test(text))
it.each(programs.map((module) => [module.page, module.line, module] as const))(
  "the program at %s:%i runs",
  async (_page, _line, { path }) => {
    const log = vi.spyOn(console, "log").mockImplementation(() => {})
    await import(path)
    expect(log).toHaveBeenCalled()
    log.mockRestore()
  }
)

it.each([
  ["docs/README.md", /^docs\/([^/]*)$/],
  ["docs/diagnosis.md", /^docs\/(diagnosis\/.*)$/]
])("%s leads to every page below it", (index, below) => {
  const text = all.find(({ path }) => path === index)?.text ?? ""
  const missing = all
    .map(({ path }) => below.exec(path)?.[1] ?? "README.md")
    .filter((name) => name !== "README.md" && !text.includes(`](${name})`))
  expect(missing).toEqual([])
})

/** As GitHub makes an anchor of a heading. */
const anchorsOf = ({ text }: Page): ReadonlySet<string> =>
  new Set(
    [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) =>
      heading
        .trim()
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, "")
        .replaceAll(" ", "-")
    )
  )

const withoutCode = (text: string) => text.replace(/^\s*```[\s\S]*?^\s*```$/gm, "").replace(/`[^`\n]*`/g, "")

/** The packages' pages are read on npm, where only whole addresses lead back here. */
const home = /^https:\/\/github\.com\/millrace\/millrace(?:\/(?:blob|tree)\/main)?\/?/
const urls = /^[a-z]+:/

const isBroken = (page: Page, link: string): boolean => {
  const [target = "", anchor] = link.replace(home, "/").split("#")
  if (urls.test(target)) return false
  const at = target === "" ? page.path : target.startsWith("/") ? target : join(dirname(page.path), target)
  const path = at.replaceAll("\\", "/").replace(/^\//, "")
  if (!existsSync(join(root, path))) return true
  const linked = all.find((other) => other.path === path)
  return anchor !== undefined && linked !== undefined && !anchorsOf(linked).has(anchor)
}

describe.each(all.map((page) => [page.path, page] as const))("%s", (path, page) => {
  const links = [...withoutCode(page.text).matchAll(/(?:\]\(|(?:src|srcset|href)=")([^)"\s]+)/g)].map(
    ([, link = ""]) => link
  )

  it("links to what is there", () => {
    expect(links.filter((link) => isBroken(page, link))).toEqual([])
  })

  it("names npm scripts that exist", async () => {
    const { scripts } = JSON.parse(await readFile(join(root, "package.json"), "utf8"))
    const named = [...page.text.matchAll(/npm run (?:--silent )?([\w:-]+)/g)].map(([, script = ""]) => script)
    expect(named.filter((script) => !(script in scripts))).toEqual([])
  })

  it("installs versions that suit", async () => {
    const { devDependencies } = JSON.parse(await readFile(join(root, "package.json"), "utf8"))
    const manifests = await Promise.all(
      ["sqs", "http", "sql", "redis", "dynamodb", "promise"].map((name) =>
        readFile(join(root, `packages/${name}/package.json`), "utf8")
      )
    )
    const peerDependencies = Object.assign({}, ...manifests.map((text) => JSON.parse(text).peerDependencies))
    // What is no dependency of ours, and the line of it that is for Effect 3.
    const others = { "@effect/opentelemetry": "^0.64.0" }
    const ranges: Readonly<Record<string, string>> = { ...devDependencies, ...others, ...peerDependencies }
    const unlike = [...page.text.matchAll(/^npm install (?!-g)([^#\n]*)/gm)]
      .flatMap(([, names = ""]) => names.trim().split(/\s+/))
      .filter((name) => name !== "" && name !== "-D" && !name.startsWith("@millrace/"))
      .filter((name) => {
        const [, peer = "", version = ""] = /^(@?[^@]+)@?(.*)$/.exec(name) ?? []
        return version === "" || ranges[peer]?.startsWith(`^${version}.`) !== true
      })
    expect(unlike).toEqual([])
  })

  if (/^packages\/(core|sqs|http|dashboard|sql|redis|dynamodb|promise)\//.test(path)) {
    it("has no link that npm would break", () => {
      expect(links.filter((link) => !urls.test(link))).toEqual([])
    })
  }
})
