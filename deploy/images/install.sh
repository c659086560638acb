#!/bin/sh
# In the build stage: put one service into the environment that is on PATH, with the libraries that it declares and no
# others, from wheels whose hashes were checked. Leaves nothing there that only building needs.
#
#   install.sh SERVICE MODULE
set -eu
service=$1 module=$2
# In one step with the rest: a layer that is made smaller later is as large as before.
pip install --quiet --no-index --find-links /wheels flit-core
pip install --quiet --no-index --find-links /wheels --no-build-isolation --no-compile \
	./libs/mail-proto ./libs/mail-runtime "./services/$service"
pip uninstall --quiet --yes flit-core
packages=$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
# Symbols for debuggers, libraries' tests of themselves, sources of what is compiled: half of what they weigh.
find "$packages" -name '*.so*' -type f -exec strip --strip-unneeded {} +
rm -rf "$packages"/Crypto/SelfTest "$packages"/zstandard/_cffi* "$packages"/pip "$packages"/pip-* /opt/postroom/bin/pip*
find "$packages" -type d \( -name tests -o -name testing \) -prune -exec rm -rf {} +
find "$packages" -type f \( -name '*.pyi' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.c' -o -name '*.h' \) -delete
# All that the service and its libraries import is there, and works. What is imported is compiled by that, once: the
# file system of a container is read-only.
python - "$module" <<'PYTHON'
import compileall, contextlib, importlib, pkgutil, sys

for name in ("mail_proto", "mail_runtime", sys.argv[1]):
    for module in pkgutil.walk_packages(importlib.import_module(name).__path__, f"{name}."):
        if not module.name.endswith(".__main__") and ".migrations." not in module.name:
            importlib.import_module(module.name)
        else:
            compileall.compile_file(module.module_finder.find_spec(module.name).origin, quiet=1)
import opentelemetry.exporter.otlp.proto.http.trace_exporter
for lazily in ("sqlalchemy.dialects.postgresql.asyncpg", "uvicorn.protocols.http.httptools_impl"):
    with contextlib.suppress(ModuleNotFoundError):
        importlib.import_module(lazily)
PYTHON
