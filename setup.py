"""The compiled parts; everything else about the package is in pyproject.toml."""

import os

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext


class Build(build_ext):
    """The C extension, and beside it the static program that is process 1 of a container."""

    def finalize_options(self):
        """Link with nothing of Python's own library folder, where another C library may lie."""
        super().finalize_options()
        self.library_dirs = []

    def run(self):
        """Build both."""
        super().run()
        home = "src/climits/launch" if self.inplace else f"{self.build_lib}/climits/launch"
        self.mkpath(home)
        if static := os.environ.get("CLIMITS_STATIC_CC"):  # such as musl-gcc: 22 KB instead of 690
            self.compiler.set_executables(compiler_so=static, linker_exe=static)
        objects = self.compiler.compile(
            ["src/climits/launch/init.c"], output_dir=self.build_temp,
            extra_postargs=["-Os", "-Wall", "-Wextra"],
        )  # fmt: skip
        self.compiler.link_executable(
            objects, os.path.join(home, "climits-init"), extra_postargs=["-static", "-s"]
        )


setup(
    ext_modules=[
        Extension(
            "climits.launch._spawn",
            ["src/climits/launch/_spawn.c"],
            extra_compile_args=["-O2", "-Wall", "-Wextra"],
            py_limited_api=True,
        )
    ],
    cmdclass={"build_ext": Build},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
