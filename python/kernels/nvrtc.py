"""Compiles the engine's CUDA kernels with NVRTC and launches them, through ctypes alone.

    python3 python/kernels/nvrtc.py [--arch sm_80 --arch sm_90a] [-D NAME=VALUE] [FILE.cu ...]

Compiling needs no GPU. Prints registers, shared memory and local memory per kernel, and fails if a kernel uses
local memory or the compiler warns. NVRTC is found through NVRTC_PATH, on the loader's path, or inside an installed
`nvidia` wheel.
"""

import argparse
import ctypes
import glob
import os
import re
import sys

KERNELS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../crates/engine/src/backend/cuda/kernels")
LOCAL_MEMORY = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")


def _nvrtc():
    names = [os.environ.get("NVRTC_PATH", ""), "libnvrtc.so.13", "libnvrtc.so.12"]
    for base in sys.path:
        names += glob.glob(os.path.join(base, "nvidia", "*", "lib", "libnvrtc.so.1[23]"))
    for name in filter(None, names):
        builtins = glob.glob(os.path.join(os.path.dirname(name), "libnvrtc-builtins.so.*"))
        try:
            for path in builtins if os.path.dirname(name) else []:
                ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise SystemExit("libnvrtc was not found; set NVRTC_PATH")


def source(name):
    """Returns the text that the engine compiles: common.cu, then the file."""
    with open(os.path.join(KERNELS, "common.cu")) as common, open(os.path.join(KERNELS, name)) as kernel:
        return common.read() + kernel.read()


def compile_cubin(name, arch, defines=(), text=None):
    """Compiles one kernel file to (cubin, log); raises RuntimeError with the compiler's log."""
    lib = _nvrtc()
    program = ctypes.c_void_p()
    code = (text or source(name)).encode()
    lib.nvrtcCreateProgram(ctypes.byref(program), code, name.encode(), 0, None, None)
    options = [f"--gpu-architecture={arch}", "--std=c++17", "--ptxas-options=-v"] + [f"-D{d}" for d in defines]
    array = (ctypes.c_char_p * len(options))(*[o.encode() for o in options])
    rc = lib.nvrtcCompileProgram(program, len(options), array)
    size = ctypes.c_size_t()
    lib.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    lib.nvrtcGetProgramLog(program, log)
    text = log.value.decode()
    if rc:
        raise RuntimeError(f"{name} for {arch}: {text}")
    lib.nvrtcGetCUBINSize(program, ctypes.byref(size))
    cubin = ctypes.create_string_buffer(size.value)
    lib.nvrtcGetCUBIN(program, cubin)
    lib.nvrtcDestroyProgram(ctypes.byref(program))
    return cubin.raw, text


class Module:
    """A loaded cubin; `launch` takes torch tensors, ints, floats and None (a null pointer)."""

    def __init__(self, name, arch, defines=()):
        import torch

        torch.cuda.current_stream()
        self.torch, self.driver, self.functions = torch, ctypes.CDLL("libcuda.so.1"), {}
        cubin, self.log = compile_cubin(name, arch, defines)
        self.module = ctypes.c_void_p()
        self._check(self.driver.cuModuleLoadData(ctypes.byref(self.module), cubin))

    def _check(self, rc):
        if rc:
            text = ctypes.c_char_p()
            self.driver.cuGetErrorString(rc, ctypes.byref(text))
            raise RuntimeError(f"CUDA error {rc}: {text.value.decode() if text.value else '?'}")

    def launch(self, kernel, grid, block, shared, *args):
        if kernel not in self.functions:
            function = ctypes.c_void_p()
            self._check(self.driver.cuModuleGetFunction(ctypes.byref(function), self.module, kernel.encode()))
            self._check(self.driver.cuFuncSetAttribute(function, 8, shared))
            self.functions[kernel] = function
        values = []
        for a in args:
            if a is None:
                values.append(ctypes.c_void_p(0))
            elif isinstance(a, float):
                values.append(ctypes.c_float(a))
            elif isinstance(a, int):
                values.append(ctypes.c_int(a))
            else:
                values.append(ctypes.c_void_p(a.data_ptr()))
        pointers = (ctypes.c_void_p * len(values))(*[ctypes.addressof(v) for v in values])
        grid = (tuple(grid) + (1, 1))[:3] if not isinstance(grid, int) else (grid, 1, 1)
        stream = ctypes.c_void_p(self.torch.cuda.current_stream().cuda_stream)
        self._check(self.driver.cuLaunchKernel(self.functions[kernel], *grid, block, 1, 1, shared, stream, pointers, None))


def resources(log):
    """Parses the output of `ptxas -v`: [(kernel, registers, static shared bytes, local bytes)]."""
    rows, kernel, local = [], None, 0
    for line in log.splitlines():
        found = re.search(r"Compiling entry function '(\w+)'", line)
        if found:
            kernel, local = found.group(1), 0
        found = LOCAL_MEMORY.search(line)
        if found:
            local = sum(map(int, found.groups()))
        found = re.search(r"Used (\d+) registers", line)
        if found and kernel:
            shared = re.search(r"(\d+) bytes smem", line)
            rows.append((kernel, int(found.group(1)), int(shared.group(1)) if shared else 0, local))
            kernel = None
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arch", action="append")
    parser.add_argument("-D", dest="defines", action="append", default=[])
    parser.add_argument("files", nargs="*")
    args = parser.parse_args()
    failed = False
    for name in args.files or sorted(os.listdir(KERNELS)):
        if name == "common.cu" or not name.endswith(".cu"):
            continue
        for arch in args.arch or ["sm_80", "sm_89", "sm_90a"]:
            if "sm90" in name and arch != "sm_90a":
                continue
            _, log = compile_cubin(name, arch, args.defines)
            for line in log.splitlines():
                if "warning" in line.lower():
                    failed = True
                    print(line)
            for kernel, registers, shared, local in resources(log):
                failed |= local > 0
                print(f"{name:22} {arch:7} {kernel:20} {registers:4} registers {shared:6} B static shared {local:4} B local")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
