"""Every parser is fed by Hypothesis: the list, held against the code.

A parser is a function that makes something of text or bytes that came from a person, a file, the
kernel or another process.  Those whose names say so are found in the code, so that a new one
cannot be forgotten; the others are listed by hand.
"""

import ast
import re
from pathlib import Path

import pytest

import climits

SOURCE = Path(climits.__file__).parent
TESTS = Path(__file__).parent

#: What a parser's name begins with.
NAMED = re.compile(r"_?(parse|read|decode|unpack|unescape|split|load|from)(_|$)")

#: Parser: (file of tests, the test that gives it anything).
PARSERS = {
    # a person's words
    "units.parse_size": ("units", "test_any_text_is_a_size_or_an_invalid_value"),
    "units.parse_duration": ("units", "test_any_text_is_a_duration_or_an_invalid_value"),
    "cgroup.cpu.parse_bandwidth": ("parsers_text", "test_a_bandwidth_is_one_that_the_kernel_takes"),
    "cgroup.cpu.parse_weight": ("parsers_text", "test_a_weight_is_1_to_10000"),
    "cgroup.find.is_process": ("placement", "test_no_name_is_read_as_a_process"),
    "cgroup.naming.check_name": ("placement", "test_any_text_is_one_safe_component_or_refused"),
    "cgroup.ownership.pid_in": ("parsers_text", "test_a_process_is_a_number_that_fits"),
    "cgroup.translate.kernel_size": (
        "parsers_text", "test_a_size_of_the_kernels_is_a_number_or_none"),
    "cgroup.translate.write": (
        "parsers_text", "test_a_setting_of_the_other_version_is_translated_or_refused"),
    "cgroup.triggers.bounded_size": ("parsers_text", "test_a_bounded_size_has_bounds"),
    "cgroup.triggers.parse_trigger": ("parsers_text", "test_a_trigger_is_one_or_refused"),
    "cli.cgtools.args.read_mode": ("parsers_text", "test_a_mode_is_octal"),
    "cli.cgtools.args.read_owner": ("parsers_text", "test_an_owner_is_two_ids"),
    "cli.cgtools.args.read_spec": ("parsers_text", "test_a_spec_has_a_path"),
    "cli.options.parse": ("options", "test_any_words_are_read_or_refused"),
    "history.store.parse_age": ("parsers_text", "test_an_age_is_seconds"),
    "launch.capabilities.parse": (
        "parsers_text", "test_capabilities_are_those_of_the_kernel_or_refused"),
    "observe.catalog.find_files": (
        "parsers_text", "test_the_file_that_is_meant_is_found_or_refused"),
    "observe.setup.mounts.parse": ("parsers_text", "test_a_layout_is_one_or_refused"),
    "pool.budget.parse_budget": ("parsers_text", "test_a_budget_is_more_than_nothing"),
    "program.identity.identity": ("parsers_kernel", "test_any_user_is_ids_or_refused"),
    "supervise.address.parse_address": ("parsers_text", "test_an_address_is_a_host_and_a_port"),
    "supervise.alarms.parse_alarm": ("alarms", "test_any_word_is_read_or_refused"),
    "supervise.config_values.signal_number": (
        "parsers_text", "test_a_signal_is_one_of_the_kernels",
    ),
    "supervise.alarms.parse_url": ("parsers_text", "test_a_url_is_one_or_refused"),
    # a person's files
    "batch.read.read_commands": ("parsers_text", "test_any_commands_are_jobs_or_refused"),
    "batch.read.read_json_lines": ("batch_read", "test_any_json_is_read_or_refused"),
    "batch.read.read_toml": ("parsers_text", "test_any_toml_of_jobs_is_read_or_refused"),
    "batch.template.Template": ("batch_template", "test_any_text_is_read_or_refused"),
    "batch.template.commands_of": ("parsers_text", "test_commands_of_a_file_are_lines_of_it"),
    "batch.template.lines_of": ("parsers_text", "test_lines_have_all_that_the_file_has"),
    "cli.cgtools.config_file.parse": (
        "parsers_text", "test_a_configuration_of_cgroup_tools_is_read_or_refused"),
    "cli.cgtools.rules._expand": (
        "parsers_text", "test_any_rule_matches_or_not_and_is_filled_in"),
    "program.bundle.read_bundle": ("parsers_bytes", "test_a_bundle_is_one_or_refused"),
    "program.seccomp_profile.parse": ("parsers_bytes", "test_a_profile_is_one_or_refused"),
    "program.seccomp_profile.read_file": (
        "parsers_bytes", "test_a_profile_file_is_an_object_or_refused"),
    "supervise.config.load": ("config", "test_whatever_it_is_it_is_read_or_refused"),
    "supervise.toml_lines.parse": ("config", "test_a_broken_document_is_refused_with_a_line_of_it"),
    # the kernel and the files of the system
    "cgroup.cpu.stat_times": ("parsers_kernel", "test_cpu_times_are_seconds"),
    "cgroup.files.pick": ("parsers_kernel", "test_the_fields_of_a_file_come_back"),
    "cgroup.files.stat_fields": ("parsers_kernel", "test_the_fields_of_a_file_come_back"),
    "cgroup.memory.parse_limit": ("parsers_kernel", "test_a_limit_comes_back"),
    "cgroup.ownership.owner_pid": ("parsers_kernel", "test_any_mark_is_one_or_none"),
    "cgroup.ownership.owner_state": ("placement", "test_any_mark_has_a_state"),
    "cgroup.ownership.split_announcement": ("parsers_kernel", "test_an_announcement_comes_back"),
    "linux.kernel_config.parse_config": (
        "parsers_kernel", "test_the_configuration_of_a_kernel_comes_back"),
    "linux.kernel_config.split_command_line": (
        "parsers_kernel", "test_the_words_of_a_command_line_come_back"),
    "linux.kmsg._unescape": ("parsers_kernel", "test_what_the_log_escapes_comes_back"),
    "linux.kmsg.parse_oom_kills": ("kmsg", "test_any_other_text_is_ignored"),
    "linux.mounts.Mount": ("parsers_kernel", "test_a_mount_comes_back_whatever_its_path_holds"),
    "linux.mounts.controller_table": (
        "parsers_kernel", "test_the_table_of_controllers_comes_back"),
    "linux.proc.cgroup_entries": ("parsers_kernel", "test_the_cgroups_of_a_process_come_back"),
    "observe.discover.unescape": ("parsers_kernel", "test_an_escaped_unit_comes_back"),
    "observe.setup.identities._parse": (
        "parsers_kernel", "test_any_file_of_subordinate_ids_is_read"),
    "observe.setup.identities.free_range": ("parsers_kernel", "test_a_free_range_overlaps_none"),
    "program.identity._user": ("parsers_kernel", "test_whatever_an_image_says_of_its_users"),
    "program.idmaps._subordinate": (
        "parsers_kernel", "test_any_file_of_subordinate_ids_is_read"),
    "program.seccomp_profile._version": (
        "parsers_kernel", "test_any_release_has_a_version_or_none"),
    # other processes, and what an earlier climits has left
    "batch.results.Results": ("parsers_bytes", "test_a_result_that_is_none_hurts_no_other"),
    "history.entries.from_row": ("parsers_bytes", "test_an_entry_comes_back_from_its_row"),
    "history.entries.read_spool": ("parsers_bytes", "test_a_damaged_line_takes_no_other_along"),
    "linux.dbus.Bus": ("parsers_bytes", "test_any_bytes_are_a_message_or_a_broken_connection"),
    "linux.dbus._read": ("parsers_bytes", "test_what_is_written_is_read_again"),
    "linux.dbus._unescape": ("parsers_bytes", "test_an_escaped_address_comes_back"),
    "linux.dbus.address_path": ("parsers_bytes", "test_any_address_of_a_bus_is_a_path_or_none"),
    "observe.hosts.Hosts": ("parsers_text", "test_a_host_header_means_us_or_not"),
    "observe.recordings.reader.read_recording": (
        "parsers_bytes", "test_what_is_good_of_a_recording_is_read"),
    "observe.setup.journal.Journal": (
        "parsers_bytes", "test_what_setup_has_noted_is_read_or_refused"),
    "pool.channel.Worker": ("parsers_bytes", "test_answers_come_whole_in_whatever_pieces"),
    "supervise.client.Client": ("parsers_bytes", "test_any_answer_is_one_or_an_error"),
    "supervise.control.Control": (
        "parsers_bytes", "test_each_request_has_one_answer_whatever_it_says"),
}  # fmt: skip

#: Parts of a parser: which.
PARTS = {
    "cgroup.translate._from_max": "cgroup.translate.kernel_size",
    "linux.dbus._read_one": "linux.dbus._read",
    "linux.mounts._unescape": "linux.mounts.Mount",
    "observe.hosts._split": "observe.hosts.Hosts",
    "observe.recordings.reader._read_lines": "observe.recordings.reader.read_recording",
    "program.bundle_linux.read_linux": "program.bundle.read_bundle",
    "program.bundle_mounts.read_mounts": "program.bundle.read_bundle",
    "supervise.alarms._split": "supervise.alarms.parse_alarm",
    "supervise.config._parse": "supervise.config.load",
    "supervise.config._parse_apart": "supervise.config.load",
    "supervise.config_programs.read_programs": "supervise.config.load",
    "supervise.toml_lines._decode": "supervise.toml_lines.parse",
    "units._read_size": "units.parse_size",
    "batch.read.read_tables": "batch.read.read_commands",
    "cli.batch_jobs._from_lines": "batch.template.commands_of",
}

#: What is named like a parser and takes nothing apart: files that are read whole, descriptors,
#: values of options that other parsers have read, and what only we ourselves write for ourselves.
NONE = frozenset((
    "batch.dask_call.load", "cgroup.params.read", "cgroup.params.read_known",
    "cgroup.translate.read", "cli.batch_jobs._from_values", "cli.batch_jobs._split",
    "cli.batch_jobs.read_jobs", "cli.bundle._read", "cli.bundle.load", "cli.cgtools.config._load",
    "cli.cgtools.config._read", "cli.cgtools.create.read_permission",
    "cli.cgtools.get._read_error", "cli.explain._read", "cli.measure._read", "cli.service._read",
    "cli.supervise._from_file", "cli.supervise._from_words", "launch.mounts.read_only_copy",
    "linux.mounts._read_mountinfo",
    "launch.signals.read_signals", "linux.kernel_config.read_command_line",
    "linux.kernel_config.read_config", "linux.surroundings._read",
    "observe.facts.read_sysctls", "observe.recordings.report.read_runs",
    "observe.sample.read_anew", "observe.sample.read_each", "observe.setup.changes.read_text",
    "observe.tree.read_tree", "observe.web.app._read_asset", "program.container._read",
    "program.ending.read_status", "program.polling.tree._read",
    "program.polling.tree._read_or_raise", "program.spec._read_args", "supervise.unit._read_by",
))  # fmt: skip


def definitions():
    """{module.name: whether it is a function} of all that modules define."""
    found = {}
    for path in SOURCE.rglob("*.py"):
        module = ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                found[f"{module}.{node.name}"] = isinstance(node, ast.FunctionDef)
    return found


def test_every_parser_is_in_the_list():
    defined = definitions()
    named = {
        name for name, is_function in defined.items()
        if is_function and NAMED.match(name.rpartition(".")[2])
    }  # fmt: skip
    known = PARSERS.keys() | PARTS.keys() | NONE
    assert named - known == set(), "new: name the test that feeds it, or why there is none"
    assert known - defined.keys() == set(), "gone from the code"
    assert not PARSERS.keys() & PARTS.keys() and not NONE & (PARSERS.keys() | PARTS.keys())
    assert set(PARTS.values()) <= PARSERS.keys()


@pytest.mark.parametrize("parser", PARSERS)
def test_its_test_is_one_of_hypothesis(parser):
    file, test = PARSERS[parser]
    tree = ast.parse((TESTS / f"test_{file}.py").read_text(encoding="utf-8"))
    (function,) = (n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == test)
    decorators = [ast.unparse(d).partition("(")[0] for d in function.decorator_list]
    assert "given" in decorators
