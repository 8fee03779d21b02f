"""Writes the keys of config.json that `transformers` reads for a ModernBERT, for a test that knows each of them.

    python3 python/goldens/config_keys.py

Found by looking: fields and settable properties of ModernBertConfig, keyword arguments that its constructors take out
by name, generation parameters, and attributes that the model's code asks a config for. Writes
crates/engine/tests/data/config_keys.json: of each key, whether `transformers` accepts null.
"""

import ast
import dataclasses
import inspect
import json
import pathlib

import transformers
from transformers import GenerationConfig, ModernBertConfig, PreTrainedConfig
from transformers import configuration_utils, masking_utils, modeling_rope_utils, modeling_utils
from transformers.models.auto import configuration_auto
from transformers.models.modernbert import modeling_modernbert
from transformers.quantizers import auto as quantizers

PATH = pathlib.Path(__file__).resolve().parents[2] / "crates" / "engine" / "tests" / "data" / "config_keys.json"
CODE = [modeling_modernbert, modeling_utils, modeling_rope_utils, masking_utils, quantizers]


def constant(node):
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def names_read(tree, holders):
    """Returns the names that are read from variables or attributes called one of `holders`."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args:
            # getattr(config, "key"), hasattr(config, "key"), kwargs.pop("key")
            function = node.func
            if isinstance(function, ast.Name) and function.id in ("getattr", "hasattr") and holder(node.args[0]) in holders:
                found.add(constant(node.args[1]))
            if isinstance(function, ast.Attribute) and function.attr in ("get", "pop") and holder(function.value) in holders:
                found.add(constant(node.args[0]))
        if isinstance(node, ast.Subscript) and holder(node.value) in holders:
            found.add(constant(node.slice))
    return found - {None}


def holder(node):
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else None


def keys():
    found = {field.name for field in dataclasses.fields(ModernBertConfig)}
    found |= {name for name, p in inspect.getmembers(ModernBertConfig, lambda v: isinstance(v, property)) if p.fset}
    found |= set(GenerationConfig._get_default_generation_params())
    found |= names_read(ast.parse(inspect.getsource(configuration_utils)), {"config_dict"})
    found |= names_read(ast.parse(inspect.getsource(configuration_auto)), {"config_dict"})
    for cls in (ModernBertConfig, PreTrainedConfig):
        body = ast.parse(inspect.getsource(cls)).body[0]
        for function in body.body:
            if isinstance(function, ast.FunctionDef) and function.name in ("__post_init__", "convert_rope_params_to_dict"):
                found |= names_read(function, {"kwargs"})
    for module in CODE:
        found |= names_read(ast.parse(inspect.getsource(module)), {"config", "model_config"})
        # What `config.key` reads of the model's own file is fields, which are above.
    standardize = modeling_rope_utils.RotaryEmbeddingConfigMixin.standardize_rope_params
    found |= names_read(ast.parse(inspect.getsource(standardize).replace("\n    ", "\n").strip()), {"self"})
    return sorted(found)


def accepts_null(key):
    try:
        ModernBertConfig.from_dict({"model_type": "modernbert", key: None})
    except Exception:
        return False
    return True


def main():
    transformers.logging.set_verbosity_error()
    lines = [f'  "{key}": {json.dumps({"null": accepts_null(key)})}' for key in keys()]
    head = f'{{\n"transformers": "{transformers.__version__}",\n"keys": {{\n'
    PATH.write_text(head + ",\n".join(lines) + "\n}\n}\n")
    print(f"{len(lines)} keys")


if __name__ == "__main__":
    main()
