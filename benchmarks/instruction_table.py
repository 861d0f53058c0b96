"""results/instructions.md, made from results/instructions.json."""

from __future__ import annotations

from typing import Any

MODELS = ("cnn", "dense")
KINDS = ("digits", "noise")
CPUS = {"cortex-a53": "Pi 3", "cortex-a72": "Pi 4", "cortex-a76": "Pi 5"}
# Processors whose cycles llvm-mca estimates, and the counted processor that executes the same code.
LOOP_CPUS = {cpu: cpu for cpu in CPUS} | {"cortex-a55": "cortex-a76"}
START_CPU = "cortex-a72"
NO_SYMBOL = "no symbol"
SHORT_COMMIT = 12

Results = dict[str, Any]


def table(results: Results) -> str:
    """Text of the results file."""
    parts = (_head, _arm64, _functions, _loops, _boards, _cmsis_nn, _starts)
    return "\n\n".join("\n".join(part(results)) for part in parts) + "\n"


def _head(results: Results) -> list[str]:
    engines = results["engines"]
    names = {"litert": "ai-edge-litert"}
    wheels = ", ".join(f"{names.get(name, name)} {version}" for name, version in engines["versions"].items())
    lines = [
        "# Executed instructions for one image",
        "",
        "`python benchmarks/instructions.py --cmsis-nn FOLDER` makes this file and instructions.json: the last time in",
        f"{results['minutes']} minutes, on two cores with other work. It builds a plug-in for QEMU's user mode and for",
        f"its emulated boards. Means of {results['images']} validation images of MNIST (boards:",
        f"{results['board_images']}), and of as many images of noise, where no input is zero.",
        "",
        "**These are counts, and no times.** A processor executes several instructions in one cycle, or waits many",
        "cycles for one, so a smaller count does not prove a shorter time. They show what work a kernel does, and",
        "whether a change adds to it. Counts of generated C and of CMSIS-NN are the same in every run; those of ONNX",
        "Runtime vary (for `dense` by up to a quarter), as do those of an engine's start (by up to a quarter).",
        "",
        f"- Generated C: counted on {results['date']}. Compilers:",
        *(f"  - {version}" for version in results["compilers"].values()),
        f"- Generated C for 64-bit Arm: `{results['flags']}`, but as a program.",
        f"- Emulator: {results['emulator']}.",
        f"- Engines: counted on {engines['date']}. {wheels}:",
        "  their own wheels for Python 3.11 on arm64, one thread, the barest call from Python (`contenders.barest`).",
        "  The emulated system has the /proc/cpuinfo and the features of the board's processor, by which the engines",
        "  choose their kernels. QEMU's models also have cryptography instructions, which a Raspberry Pi 3 and 4 lack.",
    ]
    if "cmsis_nn" in results:
        lines.append(f"- CMSIS-NN: counted on {results['cmsis_nn']['date']}, commit {results['cmsis_nn']['commit']}.")
    return lines


def _arm64(results: Results) -> list[str]:
    lines = [
        "## 64-bit Arm",
        "",
        '"Whole call" is everything from Python\'s call to its return; "engine" only the files of the engine\'s',
        "package, without Python, NumPy and the C library. Generated C is called from C.",
        "",
        "| processor | model | images | engine | whole call | engine | over generated C |",
        "|---|---|---|---|---|---|---|",
    ]
    for cpu, board in CPUS.items():
        for model in MODELS:
            for kind in KINDS:
                own = results["counts"][cpu][model][kind]["all"]
                where = f"| {cpu} ({board}) | `{model}` | {kind} |"
                lines.append(f"{where} generated C | | {own:,} | |")
                for engine, one in results["engines"]["counts"][cpu][model][kind].items():
                    counts = f"{one['call']:,} | {one['engine']:,}"
                    lines.append(f"{where} {engine} | {counts} | {one['engine'] / own:.2f} |")
    return lines


def _functions(results: Results) -> list[str]:
    lines = ["## Functions", "", "The largest of generated C, and the three largest of each engine, for one digit.", ""]
    lines += ["| processor | model | engine | function | instructions |", "|---|---|---|---|---|"]
    for cpu in CPUS:
        for model in MODELS:
            where = f"| {cpu} | `{model}` |"
            own = results["counts"][cpu][model]["digits"]
            lines += [f"{where} generated C | `{name}` | {n:,} |" for name, n in own.items() if name != "all"]
            for engine, functions in results["engines"]["functions"][cpu][model].items():
                lines += [f"{where} {engine} | {name} | {n:,.0f} |" for name, n in functions.items()]
    return lines


def _loops(results: Results) -> list[str]:
    loops = results["loops"]
    lines = [
        "## Inner loops",
        "",
        "The hottest loop of each net for digits, its share of the instructions (of an engine: of those in its",
        "files), its instructions, and its products of 8 bits. A Cortex-A55 executes the code of a Cortex-A76.",
    ]
    if loops["llvm"] is None:
        lines += ["**Cycles were not estimated: llvm-mca was not installed.**"]
    else:
        lines += [
            f"Cycles are an estimate of llvm-mca, LLVM {loops['llvm']}, and no measurement: all loads are in the first",
            "cache. LLVM's model of the A72 and of the A76 is that of an A57, which has fewer units than an A76. The",
            "products that generated C skips because their inputs are zero are not in a loop's figures.",
        ]
    lines += [
        "",
        "| processor | model | engine | function | share | instructions | products | cycles | products in a cycle |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for cpu in LOOP_CPUS:
        for row in loops["rows"]:
            if row["cpu"] == cpu:
                cycles = row["cycles"] if loops["llvm"] else None
                rate = f"{row['products'] / cycles:.1f}" if cycles and row["products"] else ""
                function = row["function"] if row["function"] == NO_SYMBOL else f"`{row['function']}`"
                lines.append(
                    f"| {cpu} | `{row['model']}` | {row['engine']} | {function} | {row['share']:.0%} | "
                    f"{row['instructions']} | {row['products'] or ''} | {f'{cycles:.1f}' if cycles else ''} | {rate} |"
                )
    return lines


def _boards(results: Results) -> list[str]:
    """Table of the emulated microcontrollers."""
    lines = ["## Microcontrollers", "", "| processor and optimization | model | digits | noise |", "|---|---|---|---|"]
    for name, models in results["counts"].items():
        if name not in CPUS:
            for model in MODELS:
                kinds = models.get(model)
                shown = " | ".join(f"{kinds[kind]['all']:,}" for kind in KINDS) if kinds else "does not fit | "
                lines.append(f"| {name} | `{model}` | {shown} |")
    return lines


def _cmsis_nn(results: Results) -> list[str]:
    found = results.get("cmsis_nn")
    lines = ["## Against CMSIS-NN", ""]
    if found is None:
        return [*lines, "CMSIS-NN was not counted: `--cmsis-nn` names its repository."]
    lines += [
        f"Arm's library for Cortex-M, commit {found['commit'][:SHORT_COMMIT]}, called for each layer by a program of",
        "ours (`benchmarks/cmsis_nn.py`) with the net's weights and quantization, without TensorFlow Lite Micro.",
        f"It is compiled by {found['compiler']}",
        f"with `{found['flags']}`, as by its own build, and generated C with `-O3`. With GCC 12.2 CMSIS-NN computes",
        f'softmax without Helium. "Equal" counts the images, of {found["compared"]}, whose outputs are those of the',
        "integer reference engine: CMSIS-NN rounds a fully connected layer twice, TensorFlow Lite once.",
        "",
        "| processor | model | images | generated C | CMSIS-NN | over generated C | equal |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, models in found["counts"].items():
        for model, kinds in models.items():
            for kind, functions in kinds.items():
                own, peer = results["counts"][f"{name} -O3"][model][kind]["all"], functions["all"]
                equal = f"{found['equal'][name][model][kind]} of {found['compared']}"
                lines.append(f"| {name} | `{model}` | {kind} | {own:,} | {peer:,} | {peer / own:.2f} | {equal} |")
    lines += ["", "Its functions with at least 2 % of the instructions, for one digit:", ""]
    lines += ["| processor | model | function | instructions |", "|---|---|---|---|"]
    for name, models in found["counts"].items():
        for model, kinds in models.items():
            lines += [f"| {name} | `{model}` | `{key}` | {n:,} |" for key, n in kinds["digits"].items() if key != "all"]
    return lines


def _starts(results: Results) -> list[str]:
    """Table of what each engine costs besides the images: start, memory, download."""
    lines = [
        "## Start and memory", "",
        "A program that imports NumPy and the engine, opens the shipped cnn, and classifies one image, on",
        f"{START_CPU}: instructions of the whole program, and its resident memory at the end, without the emulator's.",
        "Bytecode is in the cache. The first row imports NumPy alone.", "",
        "| engine | instructions, millions | resident memory, MB | wheel, MB |", "|---|---|---|---|",
    ]  # fmt: skip
    for engine, one in results["starts"].items():
        size = f"{one['wheel'] / 1e6:.1f}" if one["wheel"] else ""
        lines.append(f"| {engine} | {one['instructions'] / 1e6:,.0f} | {one['resident'] / 1e6:.1f} | {size} |")
    return lines
