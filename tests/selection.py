"""Which tests run: the long ones apart, a part of them by a key, in a random order where that is asked for.

`make test` leaves out what is marked long, `make test-all` runs everything, `make test-part KEY=...` a tenth of the long ones.
"""

from __future__ import annotations

import hashlib
import random

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

__all__ = ["APART", "FIRST", "LONG", "SLOW", "FilesAndTests", "longest_first", "mark", "part", "shuffled", "unit"]

# Whole runs and graphs: left out of `make quick`.
SLOW = (
    "bench/test_acceptance", "bench/test_bench", "bench/test_forecast", "bench/test_kit_bench", "bench/test_kits", "cli/test_console", "comparison/", "export/", "test_tasks", "data/test_bad_", "data/test_block_size", "data/test_counting", "data/test_data_keys", "data/test_features", "data/test_formats_run",
    "data/test_http", "data/test_moved_data", "data/test_np", "data/test_remote", "folder/test_commit", "folder/test_journal", "metrics/", "models/test_keras_usual",
    "models/test_tf_model", "predictions/", "ranks/test_counter.py::test_who_proves", "ranks/test_process_exit", "report/", "results/test_intervals", "results/test_recompute", "run/test_api",
    "run/test_check", "run/test_serve_check", "run/test_doctor", "run/test_export", "run/test_first_look", "run/test_found_classes", "run/test_job_gate", "run/test_parity", "run/test_keras_callback", "run/test_notebook", "run/test_report", "step/", "sums/test_row_reduction", "test_bad_input", "test_benchmarks", "test_closed_output", "test_coverage",
    "test_docs", "test_hard_sums", "test_near_zero", "test_packaging", "test_slices_bootstrap", "watch/test_monitor", "watch/test_time_split",
)  # fmt: skip

# Left out of `make test` as well: each with what proves the same there.
LONG = {
    "bench/test_bench.py::test_a_bench_that_was_ended": "a second bench in the folder is refused; what is kept appears by one rename",
    "bench/test_bench.py::test_a_planted_bottleneck_is_named": "bench/test_binding on frozen trials",
    "bench/test_bench.py::test_a_result_that_depends": "bench/test_figures on frozen trials",
    "bench/test_bench.py::test_a_size_that_fails": "bench/test_figures on frozen trials",
    "bench/test_bench.py::test_a_sweep_writes": "bench/test_figures on frozen trials",
    "bench/test_bench.py::test_minutes_bound": "bench/test_figures: what is chosen",
    "bench/test_bench.py::test_strong_and_weak_scaling_over_each_transport": "one and two ranks; bench/test_figures",
    "bench/test_forecast_run.py::test_a_job_is_forecast": "the request that Slurm understands comes of a forecast: slurm/test_forecast; the model against simulated worlds",
    "bench/test_forecast_run.py::test_two_and_four_ranks": "the model against simulated worlds; a forecast on a cluster in slurm/test_forecast",
    "bench/test_kit_bench.py::test_a_kit_is_judged_and_measured": "a kit that is wrong, alone; benches of two ranks in bench/test_bench",
    "bench/test_kits.py::test_a_kit_is_not_wrong_on_this_machine[ranking": "the kit in whole numbers, and the images",
    "bench/test_kits.py::test_a_kit_is_not_wrong_on_this_machine[segmentation": "the kit in whole numbers, and the images",
    "bench/test_kits.py::test_a_kit_is_not_wrong_on_this_machine[table": "the kit in whole numbers, and the images",
    "bench/test_kits.py::test_a_kit_is_not_wrong_on_this_machine[text": "the kit in whole numbers, and the images",
    "bench/test_loadgen.py::test_loadgen_itself": "an environment of its own; summaries of LoadGen in the same file",
    "data/test_bad_numbers.py::test_what_is_no_number_is_named_or_skipped[NUL within": "the other texts",
    "data/test_bad_numbers.py::test_what_is_no_number_is_named_or_skipped[of integers": "the other texts",
    "data/test_data_keys.py::test_the_same_bytes_at_several_ranks[3": "two ranks",
    "data/test_formats_run.py::test_a_format_gives_the_same_numbers[csv.gz]": "jsonl.gz unpacks, csv parses",
    "data/test_formats_run.py::test_a_format_gives_the_same_numbers[jsonl]": "jsonl.gz",
    "data/test_formats_run.py::test_a_format_gives_the_same_numbers[tsv]": "csv",
    "data/test_formats_run.py::test_a_format_gives_the_same_numbers[zlib]": "tfrecord here, ZLIB in data/test_tfrecord",
    "data/test_formats_run.py::test_formats_at_several_ranks": "each format alone, and other data at several ranks",
    "data/test_images.py::test_images_at_several_ranks": "images alone, and other data at several ranks",
    "data/test_npy.py::test_a_file_that_is_cut_off_while_it_is_evaluated_is_named[before": "within the last page",
    "data/test_npy.py::test_a_file_that_is_cut_off_while_it_is_evaluated_is_named[never": "within the last page",
    "data/test_remote.py::test_a_server_that_is_gone_is_said_and_no_secret_with_it[parquet": "TFRecord; Parquet over connections that drop",
    "export/test_trackers.py": "names, numbers and ids of all targets: export/test_exported_run, export/test_tables; MLflow and wandb need an environment of their own",
    "launch/test_mpirun.py::test_the_line_is_the_one_that_horovodrun_runs[hosts2": "one host, and hosts that are named",
    "metrics/test_families_run.py::test_ranks_write_the_same_bytes[3": "two ranks; three in ranks/test_same_bytes",
    "metrics/test_families_run.py::test_ranks_write_the_same_bytes[5": "two ranks; three in ranks/test_same_bytes",
    "metrics/test_laws.py::test_chunks_and_batches_do_not_matter": "order, padding, and ranks/test_same_bytes",
    "metrics/test_laws.py::test_sums_compiled_with_xla_are_the_same": "the limbs that XLA compiles: exact/test_tf_limbs",
    "metrics/test_multiclass_auc.py::test_areas_are_sklearns[4": "all classes",
    "metrics/test_text_ranking_run.py::test_the_same_bytes_at_any_number_of_ranks": "their values alone; families at two ranks, ranks/test_rows",
    "load/test_loadgen_load.py": "LoadGen in an environment of its own; its queries from a schedule of the test's own in load/test_system",
    "load/test_system.py::test_a_server_that_comes_back_answers_the_queries_that_come_then[SingleStream": "queries of Server",
    "launch/test_spark.py::test_two_executors": "PySpark is an extra, which make test-all installs; paths and refusals beside it want none",
    "launch/test_spark.py::test_a_rank_that_fails": "PySpark is an extra, which make test-all installs; paths and refusals beside it want none",
    "models/test_endpoint_addresses.py::test_a_slow_address": "the address with the fewest under way, on a clock of the test; one that dies in mid-run",
    "models/test_endpoint_addresses.py::test_over_grpc": "over REST",
    "models/test_endpoints.py::test_a_server_that_is_restarted_in_time": "calls that fail for now; a server that dies, and is back for --resume",
    "models/test_endpoints.py::test_a_wrong_reply_ends_the_run_and_names_the_chunk[another dtype": "fewer rows",
    "models/test_endpoints.py::test_a_wrong_reply_ends_the_run_and_names_the_chunk[more rows": "fewer rows",
    "models/test_endpoints.py::test_a_wrong_reply_ends_the_run_and_names_the_chunk[no outputs": "another name",
    "models/test_endpoints.py::test_a_wrong_reply_over_rest_ends_the_run_and_names_the_chunk[a name of": "no id any more; an error with the token; the classes that read replies: models/test_inference_protocol",
    "models/test_endpoints.py::test_a_wrong_reply_over_rest_ends_the_run_and_names_the_chunk[an output": "no id any more; an error with the token; the classes that read replies: models/test_inference_protocol",
    "models/test_endpoints.py::test_a_wrong_reply_over_rest_ends_the_run_and_names_the_chunk[another model": "no id any more; an error with the token; the classes that read replies: models/test_inference_protocol",
    "models/test_endpoints.py::test_a_wrong_reply_over_rest_ends_the_run_and_names_the_chunk[outputs of": "no id any more; an error with the token; the classes that read replies: models/test_inference_protocol",
    "models/test_endpoints.py::test_a_wrong_reply_over_rest_ends_the_run_and_names_the_chunk[parameters of": "no id any more; an error with the token; the classes that read replies: models/test_inference_protocol",
    "models/test_endpoints.py::test_calls_that_fail_for_now_are_made_again_and_counted_once[exhausted": "unavailable; 429 with Retry-After",
    "models/test_endpoints.py::test_grpc_gives_the_numbers_of_the_local_model[keys1": "the highest version, a label",
    "models/test_endpoints.py::test_grpc_gives_the_numbers_of_the_local_model[keys3": "the protocol that is found",
    "models/test_endpoints.py::test_requests_that_fail_for_now_are_made_again_and_counted_once[503": "429",
    "models/test_endpoints.py::test_requests_that_fail_for_now_are_made_again_and_counted_once[reset": "a reply that is cut off",
    "models/test_inference_grpc.py::test_a_wrong_reply_ends_the_run_and_names_the_chunk[a datatype": "half a tensor",
    "models/test_inference_grpc.py::test_a_wrong_reply_ends_the_run_and_names_the_chunk[a tensor": "half a tensor",
    "models/test_inference_grpc.py::test_a_wrong_reply_ends_the_run_and_names_the_chunk[rows of": "rows in another order",
    "models/test_inference_grpc.py::test_an_id_that_is_passed_through_gives_the_numbers_of_the_local_model[False": "contents as lists: every datatype there and back",
    "models/test_guesslang.py": "step/test_class_labels, models/test_tf_model",
    "predictions/test_predictions.py::test_examples_that_were_drawn_or_filtered": "records that were skipped, and data/test_data_keys",
    "ranks/test_api.py::test_all_ranks_find_what_one_finds[gloo": "two ranks over MPI",
    "ranks/test_api.py::test_all_ranks_find_what_one_finds[mpi-3": "two ranks over MPI",
    "ranks/test_chaos.py": "ranks/test_resume kills and resumes through the launcher",
    "ranks/test_cost.py::test_a_run_that_was_killed": "attempts are added up in results/test_cost, what ranks left in results/test_usage; ranks/test_resume kills",
    "ranks/test_counting.py::test_ranks_find_the_classes_of_labels_together": "run/test_found_classes shares out the pass",
    "models/test_mlserver.py": "messages that MLServer's classes wrote: models/test_inference_protocol; the other protocol in models/test_endpoints",
    "ranks/test_elastic.py::test_a_rank_that_dies_does_not_end_the_run[0": "rank 1 dies",
    "ranks/test_elastic.py::test_a_host_that_comes_joins": "a rank that dies: the same border, and a ring of another size",
    "ranks/test_elastic.py::test_a_failure_that_is_no_death": "a rank that dies: the same border; a corrupt record on one rank in ranks/test_faults",
    "ranks/test_elastic.py::test_a_rank_that_is_stuck_is_ended_and_the_others_go_on": "a rank that dies",
    "ranks/test_elastic.py::test_a_signal_ends_all_ranks_and_the_run_resumes": "ranks/test_launch_ends",
    "ranks/test_endpoint_ranks.py::test_runs_that_are_killed": "models/test_endpoints resumes, ranks/test_resume kills",
    "ranks/test_endpoint_ranks.py::test_the_same_bytes_as_the_model_here[grpc-1": "three ranks; one in models/test_endpoints",
    "ranks/test_endpoint_ranks.py::test_the_same_bytes_as_the_model_here[rest": "gRPC at three ranks; REST in models/test_endpoints",
    "ranks/test_families.py": "metrics/test_families_run",
    "ranks/test_faults.py::test_a_rank_that_hangs[gloo": "over MPI",
    "ranks/test_faults.py::test_a_rank_that_raises[gloo": "over MPI; over Gloo one that is killed",
    "ranks/test_file_operations.py": "test_benchmarks counts what worlds of ranks ask of a file system",
    "ranks/test_faults.py::test_a_signal_ends_all_ranks[gloo": "a signal to the launcher in ranks/test_launch_ends",
    "ranks/test_faults.py::test_a_signal_ends_all_ranks[mpi": "a signal to the launcher in ranks/test_launch_ends",
    "ranks/test_faults.py::test_the_other_ranks_print_one_line_each": "a rank that raises; names/test_log",
    "ranks/test_flood.py": "ranks/test_counter",
    "ranks/test_gate.py": "ranks/test_resume has the codes of all ranks, launch/test_workstation and watch/test_elastic what is done with them",
    "ranks/test_json_log.py::test_a_launched_run_logs_events_alone": "a failure under mpirun is one event; names/test_log has the wrapping",
    "ranks/test_launch_ends.py::test_a_rank_that_dies_or_is_asked_to_stop_ends_the_job[0-15": "rank 1 is asked; rank 0 dies",
    "ranks/test_launch_ends.py::test_a_rank_that_dies_or_is_asked_to_stop_ends_the_job[1-9": "rank 0 dies; rank 1 of slurm/test_slurm",
    "ranks/test_launch_ends.py::test_a_signal_to_the_launcher_ends_the_job[1": "SIGINT; SIGUSR1 to the launcher in ranks/test_resume",
    "ranks/test_launch_ends.py::test_a_signal_near_the_end_leaves_no_launcher_behind[1": "the first moment",
    "ranks/test_launch_ends.py::test_a_signal_near_the_end_leaves_no_launcher_behind[2": "the first moment",
    "ranks/test_models.py::test_bytes_do_not_depend_on_ranks": "every kind alone, in the same file; SavedModel and Keras in ranks/test_same_bytes, endpoints in ranks/test_endpoint_ranks",
    "ranks/test_monitor.py": "watch/test_monitor kills a writer and serves pages, watch/test_monitor_metrics has Prometheus' own tools",
    "ranks/test_rows.py::test_rows_over_horovod": "metrics/test_families_run at two ranks",
    "ranks/test_same_bytes.py::test_bytes_do_not_depend_on_ranks[gloo-1": "gloo-2",
    "ranks/test_same_bytes.py::test_bytes_do_not_depend_on_ranks[gloo-3": "gloo-2, mpi-3",
    "ranks/test_same_bytes.py::test_bytes_do_not_depend_on_ranks[gloo-5": "gloo-2, mpi-3",
    "ranks/test_same_bytes.py::test_bytes_do_not_depend_on_ranks[mpi-1": "gloo-2, mpi-3",
    "ranks/test_same_bytes.py::test_bytes_do_not_depend_on_ranks[mpi-2": "gloo-2, mpi-3",
    "ranks/test_same_bytes.py::test_bytes_do_not_depend_on_ranks[mpi-5": "gloo-2, mpi-3",
    "ranks/test_same_data.py::test_ranks_share_the_look": "one process finds other data, in the same file; what ends all ranks: ranks/test_faults",
    "ranks/test_same_data.py::test_a_file_that_is_replaced_by_a_rename_in_mid_run[True": "by one of the same size",
    "ranks/test_status_line.py::test_one_line_moves_from_the_command_to_the_result[alone": "launched; drawn in names/test_status_line",
    "ranks/test_tickets.py::test_a_run_with_a_slow_rank_ends_within_a_tenth_of_the_ideal[mpi": "over Gloo; simulated in ranks/test_draws",
    "ranks/test_tickets.py::test_where_mpi_has_no_window_tickets_come_over_tcp[{'HOROVOD": "the other reason to have none",
    "ranks/test_tickets.py::test_with_fixed_shares_the_fast_rank_waits": "ranks/test_schedule",
    "ranks/test_training.py": "run/test_keras_callback alone; ranks/test_api evaluates over ranks from Python",
    "report/test_browser.py": "what the page holds: report/test_page, parsed without a browser",
    "report/test_hub.py": "report/test_card, report/test_eval_results: the same files, parsed as YAML",
    "run/test_parity.py::test_two_ranks_write_the_same_parity": "alone; what two models add up to at several ranks: ranks/test_models in make test-all",
    "run/test_parity.py::test_a_shadow": "a local model and an endpoint",
    "run/test_first_look.py::test_every_command_of_the_example_gives_its_number": "the same commands in forked processes",
    "run/test_first_look.py::test_ranks_look_each_for_itself_and_write_the_same_bytes": "alone; the same job at several ranks elsewhere",
    "run/test_notebook.py::test_the_notebook_runs": "what its cells call: run/test_api; the pages of make test",
    "run/test_serve_check.py::test_bits_that_change": "a server whose bits stay; rows that change places in models/test_endpoints",
    "slurm/test_slurm.py::test_a_rank_that_crashes_before": "a killed rank, and one that fails; slurm/test_start; whose fault it was: watch/test_neighbours",
    "slurm/test_slurm.py::test_an_array_whose_jobs_have_gates": "launch/test_slurm_script, results/test_first_pass; an array of checkpoints",
    "slurm/test_slurm.py::test_one_task_of_an_array_goes_on_after_its_limit": "a job that is followed by another",
    "slurm/test_bench.py": "bench/test_bench starts trials by harness launch; slurm/test_slurm submits",
    "slurm/test_task_page.py": "slurm/test_slurm submits the same jobs",
    "slurm/test_slurm.py::test_submit_and_wait_under_hostile_names": "hostile values reach the ranks whole: launch/test_slurm_script; the script as it stands",
    "slurm/test_slurm.py::test_what_was_cancelled_and_what_was_requeued_enough_goes_on": "a job that is followed by another",
    "step/test_class_labels.py::test_predictions_keep_the_text": "predictions/test_predictions; what is skipped in Python",
    "step/test_example_choice.py::test_what_is_kept_is_what_a_plain_sort_puts_first[confusion": "by slice; by cell in ranks/test_same_bytes",
    "step/test_feeds.py::test_operation_by_operation_and_with_nothing_to_do[0": "a share without chunks in ranks/test_same_bytes",
    "step/test_grid_memory.py::test_a_grid_that_grows_while_it_is_added_to_is_the_same": "labels that are no class grow it too",
    "step/test_groups.py::test_the_sums_of_positions_do_not_depend_on_the_group[True": "without XLA; the limbs that it compiles: exact/test_tf_limbs",
    "test_coverage.py::test_intervals_cover_the_truth": "results/test_intervals against formulas; make coverage",
    "test_coverage.py::test_comparisons_and_gates": "comparison/test_difference and test_gate against statsmodels and formulas; make coverage",
    "test_benchmarks.py::test_what_being_watched": "it is a figure; watch/test_heartbeat has what is written",
    "test_docs.py::test_commands_of_a_page_work_as_written[docs/compare": "comparison/test_compare",
    "test_docs.py::test_commands_of_a_page_work_as_written[docs/data": "data/test_formats_run, data/test_data_keys",
    "test_docs.py::test_commands_of_a_page_work_as_written[docs/slices": "test_slices_bootstrap",
    "test_docs.py::test_commands_of_a_page_work_as_written[docs/export": "export/test_command, export/test_tensorboard",
    "test_docs.py::test_commands_of_a_page_work_as_written[docs/models": "models/ and ranks/test_models",
    "test_docs.py::test_commands_of_a_page_work_as_written[docs/own-metrics": "the page on a metric of one's own in test_tasks",
    "test_docs.py::test_commands_of_a_page_work_as_written[docs/prediction": "predictions/test_predictions",
    "test_docs.py::test_commands_of_a_page_work_as_written[docs/python": "the other pages",
    "test_docs.py::test_commands_of_a_page_work_as_written[docs/quickstart": "the README",
    "test_docs.py::test_commands_of_a_page_work_as_written[docs/report": "report/test_page, cli/test_console",
    "test_docs.py::test_commands_of_a_page_work_as_written[docs/resume": "ranks/test_resume",
    "test_hard_sums.py": "exact/test_limbs, exact/test_tf_limbs",
    "test_packaging.py::test_a_type_error_across": "make check sees the sources on both sides of the border",
    "test_packaging.py::test_typed_code_of_a_user_passes_mypy_strict": "make check has it with the sources; the wheel holds py.typed",
    "test_slices_bootstrap.py::test_sums_compiled_with_xla_are_the_same": "the limbs that XLA compiles: exact/test_tf_limbs",
    "test_slices_bootstrap.py::test_the_same_bytes_at_any_number_of_ranks[gloo": "two ranks over MPI",
    "test_slices_bootstrap.py::test_the_same_bytes_at_any_number_of_ranks[mpi-3": "two ranks; three in ranks/test_same_bytes",
    "test_slices_bootstrap.py::test_the_same_bytes_at_any_number_of_ranks[mpi-5": "two ranks; three in ranks/test_same_bytes",
    "test_slices_bootstrap.py::test_too_many_slices_end_all_ranks": "alone; what ends all ranks: ranks/test_faults",
    "test_near_zero.py::test_tiny_scores_are_ordered_when_they_come_from_predictions": "from Parquet, TFRecord and JSON lines as data, in the same file",
    "test_pythons.py": "test_packaging installs a wheel under this Python",
    "test_site.py": "test_docs follows links and anchors",
    "test_tasks.py::test_a_page_does_what_it_shows[csv": "run/test_first_look",
    "test_tasks.py::test_a_page_does_what_it_shows[gpus": "ranks/test_same_bytes",
    "test_tasks.py::test_a_page_does_what_it_shows[notebook": "run/test_api",
    "test_tasks.py::test_a_page_does_what_it_shows[predictions": "predictions/test_predictions",
    "test_tasks.py::test_a_page_does_what_it_shows[resume": "ranks/test_resume",
    "test_tasks.py::test_a_page_does_what_it_shows[slices": "test_slices_bootstrap",
    "test_tasks.py::test_a_page_does_what_it_shows[text-labels": "step/test_class_labels",
    "test_tasks.py::test_a_page_does_what_it_shows[training": "run/test_keras_callback",
    "slurm/test_watch.py": "launch/test_slurm_queue reads what Slurm's versions write",
    "watch/test_watch_ranks.py::test_a_slow_rank_is_named_with_its_cause": "watch/test_diagnosis; wants cores of its own",
    "watch/test_watch_ranks.py::test_other_work_on_its_processor_is_named": "watch/test_diagnosis; wants cores of its own",
    "watch/test_time_split.py::test_a_slow_reader_and_a_slow_model_are_told_apart[parsing": "reading and predicting in a pipeline",
    "watch/test_time_split.py::test_a_slow_reader_and_a_slow_model_are_told_apart[predicting-arrays": "in a pipeline",
    "watch/test_time_split.py::test_a_slow_reader_and_a_slow_model_are_told_apart[predicting-outside": "in a pipeline",
    "watch/test_time_split.py::test_a_slow_reader_and_a_slow_model_are_told_apart[reading-arrays": "in a pipeline",
    "watch/test_time_split.py::test_a_slow_reader_and_a_slow_model_are_told_apart[reading-outside": "in a pipeline",
    "slurm/test_forecast.py::test_the_request_of_a_forecast": "Slurm understands the request, in the same file; trials of a bench run to their end",
}


# The files and tests with ranks that take longest, not the long ones: begun first, so that at the end nobody waits for one of them.
# Those that mostly wait, as Slurm's, are among the first: what computes fills their time.
FIRST = (
    "slurm/test_slurm.py", "ranks/test_same_bytes.py", "ranks/test_tickets.py", "ranks/test_resume.py::test_signals_and_kills", "ranks/test_models.py",
    "ranks/test_api.py", "bench/test_bench.py::test_a_bench_of_one", "ranks/test_launch_ends.py::test_horovodrun_starts", "test_slices_bootstrap.py::test_the_same_bytes",
    "ranks/test_endpoint_ranks.py::test_the_same_bytes", "ranks/test_faults.py::test_a_rank_that_hangs", "metrics/test_families_run.py::test_ranks_write_the_same",
    "ranks/test_elastic.py::test_a_rank_that_dies",
)  # fmt: skip

# Their tests have nothing in common that takes long to make: any worker takes any of them.
APART = ("ranks/test_resume.py", "ranks/test_faults.py", "ranks/test_launch_ends.py", "ranks/test_same_data.py", "test_docs.py")


def mark(items: list[pytest.Item]) -> None:
    """Mark what takes long by where it stands."""
    for item in items:
        name = _name(item)
        if name.startswith(SLOW):
            item.add_marker("slow")
        if name.startswith(tuple(LONG)):
            item.add_marker("long")


def longest_first(items: list[pytest.Item]) -> list[pytest.Item]:
    """Return the tests in their order, after those that are begun first in theirs."""
    return sorted(
        items, key=lambda item: next((place for place, name in enumerate(FIRST) if _name(item).startswith(name)), len(FIRST))
    )


class FilesAndTests(LoadScopeScheduling):
    """Gives workers files in the order of the tests: what a file's tests share is made once. The tests of some go one by one."""

    def __init__(self, config: pytest.Config, log: Producer | None = None) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return unit(nodeid)


def unit(nodeid: str) -> str:
    """Return what a worker takes a test with: its file, or the test alone."""
    return nodeid if nodeid.removeprefix("tests/").startswith(APART) else nodeid.partition("::")[0]


def part(items: list[pytest.Item], key: str, parts: int = 10) -> list[pytest.Item]:
    """Return the part of the long tests that a key chooses; the cases of a function stay together, and no part is empty."""
    long = [item for item in items if item.get_closest_marker("long")]
    groups = sorted({_function(item) for item in long}, key=_digest)
    chosen = set(groups[_digest(key) % parts :: parts])
    return [item for item in long if _function(item) in chosen]


def _name(item: pytest.Item) -> str:
    return item.nodeid.removeprefix("tests/")


def _function(item: pytest.Item) -> str:
    return item.nodeid.partition("[")[0]


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


def shuffled(items: list[pytest.Item], seed: int) -> list[pytest.Item]:
    """Return the tests in a random order: files, and the tests of each."""
    draws = random.Random(seed)
    files: dict[str, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.nodeid.partition("::")[0], []).append(item)
    names = list(files)
    draws.shuffle(names)
    for tests in files.values():
        draws.shuffle(tests)
    return [item for name in names for item in files[name]]
