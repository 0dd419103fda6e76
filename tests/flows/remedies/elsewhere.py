"""Remedies that are not in the table: the test that carries each out, or why none can here."""

ELSEWHERE = {
    # questions about a run
    "name the run once: … or --run …": (
        "tests/flows/cli/test_ask.py::test_bad_questions_end_in_one_line"
    ),
    # imports on many workers
    "counts are one small table, which is not cut: leave out --workers, --scheduler and --rank": (
        "tests/flows/steps/test_import_on_workers.py::test_counts_are_not_cut"
    ),
    # capture on many workers
    **dict.fromkeys(
        (
            "only a capture can be split by ranks, as the marts are of whole runs: `gatehouse "
            "capture --rank R --of N`, and `gatehouse build` once all ranks have ended",
            "--rank is for machines that do not talk, which --workers and --scheduler do: leave "
            "out one or the other",
        ),
        "tests/flows/steps/test_workers.py::test_ranks_are_of_a_capture_alone",
    ),
    **dict.fromkeys(
        (
            "--workers starts workers on this machine, and --scheduler has its own: leave one of "
            "them out",
        ),
        "tests/flows/steps/test_workers.py::test_workers_and_a_scheduler_exclude_each_other",
    ),
    **dict.fromkeys(
        (
            "--scheduler …: no Dask scheduler answers there (…); start one with `dask scheduler`,"
            " or use --workers N on this machine",
        ),
        "tests/flows/steps/test_workers.py::test_nobody_at_the_address_is_one_line",
    ),
    **dict.fromkeys(
        (
            "a worker has landed shard …, and … does not have it: …",
            "put the home (--home, GATEHOUSE_HOME), and a trace to import, on a file system that "
            "every machine has",
            "the worker on … does not see …: …",
            "the worker on … has …, and this command …: install the same packages on both",
            "the worker on … would capture another run: …; name what follows from the machine, as"
            " --dtype and --quantize",
        ),
        "tests/flows/steps/test_workers.py::test_workers_that_do_not_fit_are_refused",
    ),
    **dict.fromkeys(
        (
            "--device-map … …: leave --device-map or --workers out",
            "--device-map … with --workers: each worker has a GPU of its own; leave --device-map "
            "out, and name GPUs in CUDA_VISIBLE_DEVICES",
            "--workers …: there are … GPUs here, one for each worker; ask for at most …, or for "
            "--device-map cpu",
        ),
        "tests/flows/steps/test_devices.py::test_what_workers_cannot_have_is_refused",
    ),
    **dict.fromkeys(
        (
            "--device-map … …: start one process a node (--nproc-per-node 1)",
            "… processes for … GPUs on this machine: start one for each (--nproc-per-node …)",
        ),
        "tests/flows/steps/test_devices.py::test_a_process_of_torchrun_sees_its_own_gpu",
    ),
    **dict.fromkeys(
        ("worker … cannot start (…): put that right",),
        "tests/flows/steps/test_workers.py::test_a_worker_that_cannot_start_says_why",
    ),
    **dict.fromkeys(
        (
            "--rank auto reads the number of ranks, too: leave --of out",
            "--rank R --of N go together: R is 0 to N - 1",
            "--rank …: give a number from 0 on, or auto",
            "rank … of …: ranks are numbered 0 to N - 1 of N",
            "--rank auto: … is …; start this with …, or name --rank R --of N",
            "--rank auto: number the tasks of the array evenly, as in --array=0-7, or name --rank"
            " R --of N",
        ),
        "tests/flows/steps/test_part.py::test_what_is_no_part_is_refused",
    ),
    **dict.fromkeys(
        ("--workers and --scheduler need Dask: `pip install '…'`",),
        "tests/flows/steps/test_workers.py::test_without_dask_the_extra_is_named",
    ),
    **dict.fromkeys(
        ("Dask's settings cannot be read (…): correct them in …",),
        "tests/flows/steps/test_workers.py::test_settings_of_dask_that_cannot_be_read_are_named",
    ),
    # a lake in a bucket
    **dict.fromkeys(
        (
            "… is a folder of this machine: name its home with --home",
            "an address of a lake holds no credentials and no options: put them into the "
            "environment, as docs/environment.md says",
            "… cannot be the address of a lake: write it as s3://bucket/prefix, of letters, digits "
            "and . _ = + -",
        ),
        "tests/warehouse/storage/test_bucket.py::test_addresses_that_no_lake_can_have_are_refused",
    ),
    "…:// needs a package that is not installed (…): …": (
        "tests/warehouse/storage/test_bucket.py::test_the_extra_is_named_where_s3fs_is_missing"
    ),
    "…:// is no protocol that fsspec knows: write s3://bucket/prefix": (
        "tests/warehouse/storage/test_bucket.py::test_a_missing_package_or_protocol_is_named"
    ),
    "a lake in …:// can be read, but not written: Gatehouse knows no write on a condition there, "
    "which keeps two processes apart; capture into s3://, abfs:// or a home": (
        "tests/warehouse/storage/test_bucket.py"
        "::test_other_protocols_can_be_read_and_are_refused_by_name_for_writing"
    ),
    "there is no bucket …: make it, or name another with --lake": (
        "tests/warehouse/storage/test_bucket.py::test_a_missing_bucket_is_no_empty_lake"
    ),
    "… denies access to … (…): give these credentials the right to list, read, write and delete "
    "there, or set others in the environment": (
        "tests/warehouse/storage/test_bucket.py::test_a_denial_is_one_line_without_credentials"
    ),
    "there are no credentials for … (…): …": (
        "tests/warehouse/storage/test_bucket.py::test_no_credentials_is_one_line"
    ),
    "nothing answers for …: …": (
        "tests/warehouse/storage/test_bucket.py::test_no_server_is_one_line_after_few_tries"
    ),
    "…://… has not answered within … s: …": (
        "tests/warehouse/storage/test_bucket.py::test_a_server_that_is_silent_is_one_line_in_time"
    ),
    "…:// cannot be set up (…): …": (
        "tests/warehouse/storage/test_azure.py::test_what_goes_wrong_is_one_line"
    ),
    "the exchange of … with its bucket broke off (…): run the same command again; what has "
    "landed stays": (
        "tests/warehouse/storage/test_bucket.py"
        "::test_a_connection_that_drops_in_the_middle_of_a_file_gives_no_half"
    ),
    "… cannot be used (…: …): put that right in the environment, and run the same command again": (
        "what else a bucket's client may say, word for word"
    ),
    "… was taken over by … while this process could not renew it: nothing more is written; wait "
    "for that process to end, and run the same command again": (
        "tests/warehouse/storage/test_leases.py"
        "::test_who_lost_a_lease_publishes_and_removes_nothing"
    ),
    "the bucket of … writes whatever the condition (If-None-Match): two processes could write one "
    "run; keep the lake in a bucket that heeds conditions": (
        "tests/warehouse/storage/test_leases.py::test_a_bucket_that_heeds_no_conditions_is_refused"
    ),
    "… lies in a bucket, which SQL only reads: name a file of this machine": (
        "tests/flows/sql/test_bucket_access.py::test_nothing_is_written_into_a_bucket"
    ),
    "… is not in the lake …: name a file there": (
        "tests/flows/sql/test_bucket_access.py::test_what_is_not_the_lake_is_refused"
    ),
    # traces, generated text, chats
    "the tokenizer of … has no chat template, and the samples are chats: name the "
    "model's version that is made for chats, or add --chat-as-text to take what is "
    "said as plain text": (
        "tests/flows/steps/test_generated.py::test_chats_without_a_template_are_refused_or_taken_as_text"
    ),
    "the chat template of … refuses it (…): mend the chat or leave it out, or add "
    "--chat-as-text to take what is said as plain text": (
        "tests/models/test_chat.py::test_a_template_that_refuses_a_chat_is_one_line_with_the_way_out"
    ),
    "--generate: … does not generate text; leave it out, or name a decoder with a "
    "language-model head (encoders, and models of two stacks, are captured without)": (
        "tests/models/test_generation.py::test_a_model_without_a_head_is_refused_in_one_line"
    ),
    "… cannot continue a prompt (…): leave --generate out": ("needs a model whose code fails"),
    # flows by the clock
    "something is wrong: `gatehouse verify --repair` mends what can be mended": (
        "tests/flows/test_pipeline.py::test_a_week_verifies_and_reports_on_every_run"
    ),
    "… is at `gatehouse up` or `down` here: wait for it": (
        "tests/flows/service/test_service.py::test_two_at_once_are_refused_and_so_is_another_port"
    ),
    "it is up at …: run `gatehouse down` first, or name its port": (
        "tests/flows/service/test_service.py::test_two_at_once_are_refused_and_so_is_another_port"
    ),
    "……: put that right, run `gatehouse down`, and the same command again": (
        "tests/flows/service/test_service.py::test_a_server_that_does_not_answer_is_one_line_with_the_way_out"
    ),
    "For `gatehouse run` and `prefect` in a shell: . …": (
        "tests/flows/service/test_service.py::test_the_password_is_kept_for_the_next_time_and_for_no_other_user"
    ),
    "ended by `gatehouse down`; what has landed stays, and the same command resumes from there": (
        "tests/flows/service/test_service.py::test_a_run_whose_process_is_gone_is_cancelled"
    ),
    "`gatehouse down` ends it.": (
        "tests/flows/service/test_service.py::test_down_says_what_it_ended_and_what_had_ended_before"
    ),
    "port … is taken by another program: end that, or name another with --port": (
        "tests/flows/service/test_service.py::test_a_port_that_is_taken_is_one_line_with_the_way_out"
    ),
    "port … cannot be used (…): name another with --port": "needs a user who may not use low ports",
    "--metrics …: name a file that ends in … (JSON lines) or … (OpenMetrics text)": (
        "tests/flows/steps/test_metrics.py::test_another_ending_is_refused_and_so_is_a_folder"
    ),
    "`gatehouse docs` writes its page": (
        "tests/flows/test_pipeline.py::test_text_becomes_a_report_by_tasks_that_a_server_sees"
    ),
    # builds on many workers
    **dict.fromkeys(
        (
            "the worker on … has another version of gatehouse or DuckDB than this command: install "
            "the same packages on both",
        ),
        "tests/flows/steps/building/test_on_workers.py"
        "::test_a_worker_that_does_not_see_the_home_or_is_of_another_version_says_so",
    ),
    **dict.fromkeys(
        (
            "--workers starts workers on this machine, and --scheduler has its own: leave one of "
            "them out",
            "--workers …: give a number of processes, 1 or more",
            "--scheduler …: no Dask scheduler answers there (…); start one with `dask scheduler`, "
            "or use --workers N on this machine",
            "--workers and --scheduler need Dask: `pip install '…'`",
            "Dask's settings cannot be read (…): correct them in …",
        ),
        "tests/flows/steps/workers/test_connection.py::test_bad_input_is_one_line",
    ),
    **dict.fromkeys(
        (
            "every worker that … was killed, … of them: if memory ran out, …",
            "use fewer --workers or a smaller --batch-size",
            "use fewer --workers or give each more",
            "the cluster cannot run this Gatehouse (…): install the same packages for its "
            "scheduler and workers",
        ),
        "tests/flows/steps/workers/test_connection.py::test_what_dask_raises_is_one_line",
    ),
    **dict.fromkeys(
        (
            "the Dask scheduler has gone: start it again, and run the same command; what has "
            "landed stays",
        ),
        "tests/flows/steps/workers/test_connection.py::test_a_scheduler_that_goes_is_one_line",
    ),
    "worker … cannot start (…): put that right": "needs a broken installation",
    # what a run would take
    "the disk of … has … free, and the run needs …: make room there, name another --home, or take "
    "fewer samples": (
        "tests/flows/sizing/test_sizing.py::test_a_run_that_the_disk_cannot_hold_is_refused"
    ),
    "… has no tokens: name another dataset": (
        "tests/flows/sizing/test_sizing.py::test_a_text_without_tokens_is_one_line"
    ),
    # replays
    **dict.fromkeys(
        (
            "--frequency-threshold goes with VAR's other one: add --entropy-threshold, or use "
            "--min-share with --min-frequency",
            "--… chooses tokens: add --table tokens",
            "--… says how a table is used: add --table tokens, or --table bigrams (--ids-only also "
            "goes with --routing-of)",
            "--min-frequency goes with --min-share: add that, or leave it out; VAR's rule has "
            "--frequency-threshold",
            "--layer …: give an index among the MoE layers, several as 0,2, or all",
            "--mask …: give …, where N experts of each layer go",
        ),
        "tests/flows/replay/test_request.py::test_what_cannot_be_is_refused_with_a_way_out",
    ),
    **dict.fromkeys(
        (
            "--layer …: … has the MoE layers 0 to …",
            "--mask reap needs the norms of the experts' outputs, which … has not: capture it with "
            "--output-norms, or mask by load or gate-mass",
        ),
        "tests/flows/replay/test_session.py::test_bad_input_ends_in_one_line",
    ),
    "… cannot be replayed: its model's … was … and is … now; restore that, or capture the text "
    "again and replay that run": (
        "tests/flows/replay/test_session.py::test_a_model_that_is_another_by_now_is_refused"
    ),
    **dict.fromkeys(
        (
            "… has no text in the train split, so there is no table to replay: capture more "
            "samples",
            "… has no text in the splits validation and test, and a table is not measured on the "
            "text that it was made of: capture more samples",
        ),
        "tests/flows/replay/test_other_runs.py"
        "::test_a_run_of_one_split_has_nothing_to_learn_from_or_to_measure",
    ),
    "… has no weights: add --ids-only, so that the router of … weights the experts": (
        "tests/flows/replay/test_other_runs.py"
        "::test_routing_without_weights_needs_those_of_the_router"
    ),
    "… is not a run of the same text: its samples have other tokens than those of …; name one of "
    "the same samples and tokenizer": (
        "tests/flows/replay/test_other_runs.py"
        "::test_a_run_of_another_text_or_model_has_no_routing_for_this_one"
    ),
    "… is of another model than …: its MoE layers have other numbers of experts; name a run of the "
    "same model": (
        "tests/flows/replay/test_other_runs.py"
        "::test_a_run_of_another_text_or_model_has_no_routing_for_this_one"
    ),
    "there is no run …, so it has no routing: `gatehouse status` lists the runs": (
        "tests/flows/replay/test_session.py::test_bad_input_ends_in_one_line"
    ),
    "… has not finished, so its routing is not whole: resume its capture": (
        "tests/flows/replay/test_other_runs.py::test_routing_that_is_not_whole_is_refused"
    ),
    "replaying its own routing changes what … computes in sample …, so no cost can be told: replay "
    "with another --device-map, or another model": (
        "tests/flows/replay/test_other_runs.py"
        "::test_a_model_that_its_own_routing_changes_is_not_measured"
    ),
    **dict.fromkeys(
        (
            "… has not finished: `gatehouse status` shows what is left; finish it with the same "
            "`gatehouse capture`",
            "… was imported, and its model is not replayed: capture the same text with `gatehouse "
            "capture`, then replay that run with --routing-of this one; or name a captured run",
            "… ran code from its model's repository: add --trust-remote-code to replay it",
        ),
        "tests/flows/replay/test_other_runs.py::test_a_run_that_cannot_be_replayed_is_refused",
    ),
    **dict.fromkeys(
        ("has a sample twice under one policy", "counts more tokens than there are"),
        "tests/flows/replay/test_other_runs.py::test_a_part_that_no_replay_gives_does_not_land",
    ),
    "`gatehouse replay …` with the same policies measures it again": (
        "tests/flows/replay/test_other_runs.py::test_a_damaged_part_is_set_aside_and_measured_again"
    ),
    "a token of sample … has a likelihood of 0 or NaN …: use a --dtype with more range "
    "(float32, bfloat16)": (
        "tests/models/replay/test_measuring.py::test_a_likelihood_that_is_no_number_is_refused"
    ),
    "--output-norms: …: leave it out, everything else is captured without it": (
        "tests/flows/steps/test_output_norms.py::test_a_model_that_shows_no_outputs_is_refused_at_once"
    ),
    "… gave sample …, position … (token id …) an output of NaN or infinity: use a --dtype with "
    "more range (float32, bfloat16), or leave --output-norms out; what has landed stays": (
        "tests/models/test_output_norms.py::test_an_output_of_infinity_names_the_sample"
    ),
    "… is being removed: `gatehouse runs rm …` goes on with that, and `gatehouse "
    "status` lists the other runs": (
        "tests/reports/results/test_files.py::test_no_results_are_written_of_a_run_that_is_half_gone"
    ),
    "name a FORMAT and the files of a trace: `gatehouse import --example all` lists the formats": (
        "tests/flows/steps/test_import_trace.py::test_the_command_says_what_to_name"
    ),
    **dict.fromkeys(
        (
            "give --gb or --slots, not both",
            "no policy is called …: name one of …",
            "… has no events, only counts of experts: caches need the order of tokens; name "
            "another run",
            "--gb …: give a number of gigabytes, such as 8",
            "a layer of … has … experts: give --slots 1 to …",
            "… does not tell how large its experts are: give --slots, up to … a layer",
            "… GB hold less than one expert of each layer: give --gb … or more",
        ),
        "tests/flows/cli/test_cache.py::test_what_cannot_be_answered_is_one_line_with_a_way_out",
    ),
    "--to … does not write … files: name --output with …": (
        "tests/flows/cli/test_exports.py::test_a_name_of_another_format_is_refused"
    ),
    "an address is no home, and a home is a folder of this machine: name a folder; --lake takes "
    "the address of a bucket": "tests/warehouse/test_paths.py::test_an_address_is_no_home",
    "… is a device, a pipe or a socket: name a file": (
        "tests/warehouse/test_paths.py::test_what_is_no_file_stays"
    ),
    "… is a folder: name a file for --output": (
        "tests/flows/cli/test_exports.py::test_a_folder_is_no_file"
    ),
    "no export is called …: name one of …": (
        "tests/flows/cli/test_exports.py::test_every_format_is_listed_and_another_is_refused"
    ),
    "… is empty: leave it out, or write it again": (
        "tests/flows/steps/test_import_trace.py::test_an_empty_file_among_others_is_named"
    ),
    "name a format with --to: `gatehouse export --list` lists them": (
        "tests/flows/cli/test_cli.py::test_bad_input_is_one_line_and_exit_code_2"
    ),
    **dict.fromkeys(
        (
            "… has no events, only counts of experts: use --to counts",
            "… has two MoE layers in one block, or an encoder and a decoder, and ESFT has one "
            "layer a block: query fct_expert_load with `gatehouse sql`",
            "… has two MoE layers in one block, or an encoder and a decoder, and this format one "
            "layer a block: use --to counts",
            "… has layers with different numbers of experts, or two in one block, and a keep list "
            "has as many of each block: query fct_expert_load with `gatehouse sql`",
            "… has no token ids, which rollouts have: use --to events, which does without",
            "… has two MoE layers in one block, or layers that choose different numbers of "
            "experts, and rollouts one array: use --to events",
            "… has no …, which a lookup table holds: capture the same text with `gatehouse "
            "capture`, and export that run",
            "… has no entropies: choose by --min-share or --most-frequent in place of "
            "--entropy-threshold",
            "… has layers that choose different numbers of experts, and a lookup table one k: use "
            "--to events",
            "… has no text in the train split, of which the table is made: capture more samples",
            "the run's layers have … to … experts, and this format is one matrix: query "
            "fct_expert_load with `gatehouse sql`",
        ),
        "tests/reports/exports/test_exported.py::test_what_a_format_cannot_hold",
    ),
    "name the --model that was run: a hub id, a folder, or a config.json": (
        "tests/flows/steps/test_import_trace.py::test_the_command_says_what_to_name"
    ),
    "--… applies only to generated text: add --generate N": (
        "tests/flows/steps/test_generated.py::test_options_that_exclude_each_other_are_one_line"
    ),
    "--seed applies only to drawn tokens: add --temperature T, or leave it out": (
        "tests/flows/steps/test_generated.py::test_options_that_exclude_each_other_are_one_line"
    ),
    "--generate continues one prompt, and --windows cuts a sample into several: "
    "leave one of them out": (
        "tests/flows/steps/test_generated.py::test_options_that_exclude_each_other_are_one_line"
    ),
    "--generate …: --max-length … counts the prompt and what is added, and leaves "
    "the prompt no token; make it larger, or add fewer": (
        "tests/flows/steps/test_generated.py::test_options_that_exclude_each_other_are_one_line"
    ),
    "… was imported: its … land again with the `gatehouse import …` that landed it": (
        "tests/flows/steps/test_import_trace.py::test_a_damaged_shard_lands_again_with_the_command_that_landed_it"
    ),
    # counts of experts
    **dict.fromkeys(
        (
            "does not have one count for each expert of each MoE layer",
            "has counts below 0",
            "has no selections in layer …",
            "land them with the `gatehouse import counts` that landed the run",
        ),
        "tests/flows/steps/test_import_counts.py::test_damaged_counts_are_found_and_land_again",
    ),
    "… is an imatrix of llama.cpp in its legacy format, which has no counts of experts: make it "
    "again with `llama-imatrix --output-format gguf`": (
        "tests/ingest/traces/test_counts.py::test_other_files_are_refused_by_name"
    ),
    "…: … of experts in …, and no events: they tell of load, coverage and balance; "
    "`gatehouse build` adds them to the marts": (
        "tests/flows/steps/test_import_counts.py::"
        "test_counts_land_once_and_are_what_the_engine_counted"
    ),
    "… holds the same as …, and would count twice: give it once": (
        "tests/flows/steps/test_import_counts.py::test_a_file_that_is_given_twice_is_refused"
    ),
    # traces
    "give the --model that was traced": ("no remedy: a part of a line that has one"),
    "… has … where the model has … with experts…: the layers of a draft model are among "
    "them, those of another pipeline stage are missing, or it is another model; give the "
    "--model that was traced, or keep its layers only": (
        "tests/ingest/traces/test_laws.py::test_layers_are_all_or_those_with_experts"
    ),
    "… has experts in the dense layer …: a draft model wrote into it (vLLM #48622), or it "
    "is another model; give the --model that was traced, or record again without "
    "speculative decoding": (
        "tests/ingest/traces/test_laws.py::test_a_draft_model_that_overwrote_layer_0"
    ),
    "the layers of another pipeline stage were not collected, or another --model is meant": (
        "no remedy: a part of a line that has one"
    ),
    "… has no `experts`…: `gatehouse import --example jsonl` prints a line": (
        "tests/ingest/traces/test_formats.py::test_the_example_is_a_line_of_the_format"
    ),
    "a plain format for all others: one JSON object a line (--example jsonl prints one)": (
        "no remedy: what a format is"
    ),
    "… is no rollout of slime or miles, which has `samples`: save one with "
    "--save-debug-rollout-data": ("tests/ingest/traces/test_refused.py::test_a_rollout"),
    "slime and miles: rollouts of --save-debug-rollout-data with routing replay (R3)": (
        "no remedy: what a format is"
    ),
    "… has no routing, as vLLM leaves it out of requests that it preempted or aborted, "
    "and without --enable-return-routed-experts: remove it, or ask again": (
        "tests/ingest/traces/test_refused.py::test_a_response"
    ),
    "…: …, … x … = ……; `gatehouse build` adds it to the marts": (
        "tests/flows/test_published_traces.py::test_what_the_traces_do_not_tell_is_null"
    ),
    "unknown format …: name one of …": (
        "tests/flows/steps/test_import_trace.py::test_what_cannot_be_imported_is_said"
    ),
    "there is no …: name a file or folder that is there": (
        "tests/flows/steps/test_import_trace.py::test_what_cannot_be_imported_is_said"
    ),
    "… holds no …: name a folder or file of …": (
        "tests/flows/steps/test_import_trace.py::test_a_folder_without_files_of_the_format_is_named"
    ),
    "the logits of … do not tell which experts were chosen: …; record the experts, and "
    "import those": ("tests/flows/steps/test_import_trace.py::test_logits_alone_are_refused"),
    "unknown format …: name one of …, or all": (
        "tests/flows/steps/test_import_trace.py::test_what_cannot_be_imported_is_said"
    ),
    "… of …… unchanged since they were verified on … or later: `gatehouse verify --all` reads them "
    "too": (
        "tests/flows/upkeep/test_verify.py::"
        "test_what_was_found_right_is_not_asked_again_without_all"
    ),
    # exports
    "pruning: the experts to keep, by gate mass; --keep says how many": (
        "no remedy: what a format is"
    ),
    **dict.fromkeys(
        (
            "--to … needs --…: …",
            "--… is not for --to …: leave it out",
        ),
        "tests/flows/cli/test_exports.py::test_keep_goes_with_a_keep_list",
    ),
    **dict.fromkeys(
        (
            "--keep …: give a number of each layer's … experts, or a share of them as 0.75",
            "--keep …: the router chooses … experts for a token; keep … or more",
        ),
        "tests/flows/cli/test_exports.py::test_what_cannot_be_kept_is_refused",
    ),
    "… is no folder: name a new or an empty folder": (
        "tests/flows/cli/test_exports.py::test_a_folder_with_other_files_is_not_replaced"
    ),
    # lookup tables
    **dict.fromkeys(
        (
            "no token of … is in such a table: ask for a smaller --min-share or --min-frequency, "
            "or a larger --entropy-threshold, or capture more samples",
            "a table has one rule: give --min-share and --min-frequency, or --entropy-threshold "
            "and --frequency-threshold, or --most-frequent",
            "--frequency-threshold is half of a rule: add --entropy-threshold NATS",
        ),
        "tests/flows/cli/test_lookup_table.py::test_what_is_no_rule_is_one_line",
    ),
    # placements
    **dict.fromkeys(
        (
            "--gpus …: give 1 or more",
            "--redundant …: give 0 or more",
            "--gpus … and --redundant … make … places of a layer: give numbers that make … or "
            "fewer",
            "… GPUs cannot share … experts and … replicas equally: make it --redundant …, or give "
            "--gpus that divide …",
        ),
        "tests/reports/inference/test_placements.py::"
        "test_numbers_that_do_not_divide_are_refused_and_the_way_out_works",
    ),
    "Each GPU holds one expert, so that every placement is the same: only replicas (--redundant), "
    "or fewer GPUs, can balance them.": (
        "tests/reports/inference/test_placements.py::"
        "test_where_nothing_can_be_balanced_the_advice_says_why"
    ),
    "… has layers of … to … experts, which no one placement is for: query "
    "fct_expert_load_window with `gatehouse sql`": (
        "tests/reports/results/test_placement.py::test_layers_of_different_sizes_are_refused"
    ),
    # the hub and what lies before it: tests have none, but a server that answers as one
    "HF_TOKEN holds letters that no token has (set it again, or unset it)": (
        "tests/warehouse/test_hub.py::test_what_was_seen_is_what_is_said"
    ),
    "… is SOCKS, which needs a package (`pip install socksio`)": (
        "tests/flows/remedies/test_every_remedy.py::test_a_package_to_install_is_the_one_that_lacks"
    ),
    "the hub that HF_ENDPOINT names does not answer": "no remedy: a part of a line that has one",
    "the hub asks for consent to …: accept its terms there and set HF_TOKEN": (
        "tests/models/test_hub.py::test_a_hub_model_is_pinned_to_its_commit_and_loads"
    ),
    "the hub refuses … (…): set HF_TOKEN to a token that may read it": (
        "tests/models/test_hub.py::test_a_hub_model_is_pinned_to_its_commit_and_loads"
    ),
    "the hub refuses … for too many requests (…): wait, or set HF_TOKEN": "needs the hub",
    "…; …, or name another folder with HF_HOME": (
        "tests/warehouse/test_hub.py::test_a_full_or_closed_disk_is_named_and_not_the_model"
    ),
    "… is neither a file or folder here nor a dataset on the hub: check the name, or set HF_TOKEN "
    "if it is private": "tests/ingest/test_hub.py::test_c4_is_streamed_in_order_under_its_commit",
    "the hub has no model …: check the name, or set HF_TOKEN if it is private": (
        "tests/models/test_hub.py::test_a_hub_model_is_pinned_to_its_commit_and_loads"
    ),
    "… has no .safetensors file on the hub: name a --revision that has one (the hub keeps "
    "conversions as refs/pr/NUMBER); pickled weights are not read": (
        "tests/models/test_hub.py::test_a_hub_model_is_pinned_to_its_commit_and_loads"
    ),
    "run `git lfs pull` in its clone": "needs a clone of the hub's",
    "… is a pointer of Git LFS and not the file itself: run `git lfs pull` in its folder": (
        "needs a clone of the hub's"
    ),
    # memory, and GPUs
    "--dtype bfloat16": "tests/models/test_zoo.py::test_weights_load_in_the_precision_asked_for",
    "--quantize 4bit": (
        "tests/models/test_quantization.py"
        "::test_all_experts_and_attention_are_quantised_and_nothing_else"
    ),
    "--device-map auto": (
        "tests/models/test_loading.py::test_devices_change_nothing_but_where_weights_are"
    ),
    "… does not hold one sequence of … tokens beside the model: …end other programs that use it "
    "(a smaller --batch-size does not help)": (
        "tests/models/test_batches.py::test_one_sequence_that_does_not_fit_says_what_helps"
    ),
    "memory ran out: try a smaller --batch-size or free some; …": (
        "tests/models/test_batches.py::test_out_of_memory_halves_the_batch_and_gives_the_same_events"
    ),
    "… does not fit the GPU: add --quantize 4bit, --device-map auto to spread it over all GPUs and "
    "the CPU, or --device-map cpu": "needs a GPU",
    "… does not fit this machine's memory: add --quantize 4bit or --dtype bfloat16, or end other "
    "programs": "tests/models/test_zoo.py::test_weights_load_in_the_precision_asked_for",
    "--attn-implementation … computes in half precision only: add --dtype bfloat16, or leave it "
    "out for sdpa": "needs a GPU",
    "the quantised model does not fit the GPUs: run on more of them, or on the CPU with "
    "--device-map cpu": "needs a GPU",
    # models
    "transformers reads its docstrings, which Python leaves out here: unset PYTHONOPTIMIZE, or set "
    "it to 1": "no test runs under PYTHONOPTIMIZE=2, so all of them show it",
    "a package that reads it is missing: `pip install …`": (
        "tests/models/test_stored.py::test_a_format_whose_package_is_missing_names_both_ways_out"
    ),
    "… has … in … where … was asked for: add --dtype …": (
        "tests/models/test_stored.py::test_weights_in_another_type_than_is_recorded_are_refused"
    ),
    "… is not installed: run `make install`": "of the training, which users have not",
    "… (MoE layer …) scored sample …, position … (token id …) with NaN or infinity…: fetch "
    "the checkpoint again, or use a --dtype with more range (float32, bfloat16); what has landed "
    "stays": (
        "tests/flows/steps/test_bad_models.py"
        "::test_activations_that_overflow_are_named_where_a_router_meets_them"
    ),
    "… has NaN or infinity among its weights (…): the checkpoint is damaged, or --dtype has less "
    "range than it was stored in": (
        "tests/models/test_zoo.py::test_weights_load_in_the_precision_asked_for"
    ),
    "the checkpoint is stored in … already: leave --quantize out, or use its 16-bit version": (
        "tests/models/test_loading.py::test_mxfp4_is_restored_exactly_and_routes"
    ),
    "… GB of weights in … need bitsandbytes: `pip install bitsandbytes`, or add --no-quantize": (
        "tests/flows/remedies/test_every_remedy.py::test_a_package_to_install_is_the_one_that_lacks"
    ),
    "… lacks …, the code that its config.json names: copy the .py files of its repository beside "
    "it and read them; then --trust-remote-code runs them": (
        "tests/models/test_loading.py::test_a_model_of_its_own_code_loads_and_routes"
    ),
    "… needs --trust-remote-code: it runs code from the model's repository, so read that first": (
        "tests/models/test_loading.py::test_code_from_a_repository_does_not_run_unless_asked_for"
    ),
    "… ran code from its model's repository: add --trust-remote-code to capture its bad shards "
    "again": "tests/models/test_loading.py::test_a_model_of_its_own_code_loads_and_routes",
    "… does not run with --attn-implementation …: leave it out, or name eager": (
        "tests/models/test_loading.py::test_attention_that_a_family_does_not_have_is_refused"
    ),
    "…; landed shards are untouched, please report this model": "asks for a report, not for a deed",
    # runs through Prefect, which take seconds
    "no runs in …: `gatehouse run` makes the first": (
        "tests/test_specification.py::test_every_command_of_the_table_runs"
    ),
    "--layer …: … has …, 0 to …": (
        "tests/flows/test_pipeline.py"
        "::test_the_same_run_with_all_layers_gives_a_layer_column_and_figures_each"
    ),
    "… lacks or repeats the column …: `gatehouse run` writes files that have each once": (
        "tests/test_specification.py::test_every_command_of_the_table_runs"
    ),
    "…: the column … is not … but …: write it with the types of `gatehouse run`": (
        "tests/test_specification.py::test_every_command_of_the_table_runs"
    ),
    "what has landed stays, and `gatehouse capture` and `gatehouse build` do without Prefect": (
        "every row of the table that captures or builds does so"
    ),
    "Prefect's own server does not answer…; `gatehouse capture` and `gatehouse build` do without "
    "Prefect": "every row of the table that captures or builds does so",
    "Prefect's settings cannot be read (…): correct them, or unset PREFECT_API_URL to run with "
    "Gatehouse's own": (
        "tests/flows/test_prefect_run.py::test_a_run_reports_nothing_and_no_process_outlives_it"
    ),
    "Prefect cannot go on (…): see what … says, or unset PREFECT_API_URL to run without it; …": (
        "tests/flows/test_prefect_run.py::test_a_run_reports_nothing_and_no_process_outlives_it"
    ),
    # runs that cannot have a verdict
    "… has no entropy, as its trace (…) has none: there is nothing to validate; "
    "`gatehouse report --run …` shows what it has": (
        "tests/flows/cli/test_ask.py::"
        "test_a_run_without_entropy_is_not_validated_but_its_report_shows_what_it_has"
    ),
    "no run tells what a verdict needs (entropy, token ids and the order of the experts): "
    "`gatehouse report --run RUN` shows what a run has": (
        "tests/flows/cli/test_ask.py::"
        "test_a_run_without_entropy_is_not_validated_but_its_report_shows_what_it_has"
    ),
    # a text with its routing
    '… has no sample …: name one of those that `gatehouse sql "from dim_sample"` lists': (
        "tests/flows/cli/test_texts.py::test_what_is_not_there_is_one_line_with_the_way_out"
    ),
    "sample … of … has no tokens: name another with --sample": (
        "tests/dbt_project/test_untold_results.py::test_a_text_that_is_not_told_is_not_shown"
    ),
    "the events of … cannot be read (…): `gatehouse verify --repair` mends the lake": (
        "tests/flows/cli/test_texts.py::test_events_that_cannot_be_read_are_one_line"
    ),
    **dict.fromkeys(
        (
            'there is no text: gatehouse trace "some text", or - for a pipe',
            "the text is not in UTF-8: put it into UTF-8",
            "the text has no tokens: give one that is longer",
        ),
        "tests/flows/cli/test_texts.py::test_a_text_that_cannot_be_read_is_one_line",
    ),
    "… beyond --max-length … left out": (
        "tests/flows/cli/test_texts.py::test_a_long_text_is_cut_as_a_capture_cuts_it"
    ),
    "Of each layer the first expert alone; a wider terminal or --output has all.": (
        "tests/flows/cli/test_texts.py"
        "::test_a_narrow_terminal_has_first_experts_and_then_fewer_layers"
    ),
    # several runs, and what a report advises
    "--compare takes different runs, not … twice": (
        "tests/flows/cli/test_ask.py::test_two_runs_stand_side_by_side"
    ),
    "--compare takes two runs or more: name another one": (
        "tests/flows/cli/test_ask.py::test_bad_questions_end_in_one_line"
    ),
    "no two of these … runs can be compared: they share no text, or their models or experts are "
    "not the same; name two to see their own numbers side by side": (
        "tests/reports/results/test_comparison.py"
        "::test_runs_stay_if_tokens_or_loads_compare_with_one_other"
    ),
    "--trend draws every layer of a run's series: leave --compare, --layer, --samples "
    "and --focus out": ("tests/flows/cli/test_ask.py::test_bad_questions_end_in_one_line"),
    "… selected no expert in any layer, so it has no trend: name another --run": (
        "tests/flows/cli/test_ask.py::test_a_run_without_any_choice_has_no_trend"
    ),
    "--compare names its runs: leave the run, --layer, --samples and --focus out": (
        "tests/flows/cli/test_ask.py::test_two_runs_stand_side_by_side"
    ),
    "Try a different layer: MoE layer … meets … of 3 criteria (--layer …).": (
        "tests/flows/cli/test_ask.py::test_all_layers_end_with_the_model"
    ),
    "Increase the sample size (--num-samples): ….": (
        "tests/reports/verdict/test_entailment.py::test_every_sentence_is_entailed_by_its_numbers"
    ),
    "Try a different dataset (--dataset): on this one the whole interval of … (…) misses its "
    "demand.": (
        "tests/reports/verdict/test_entailment.py::test_every_sentence_is_entailed_by_its_numbers"
    ),
    "Adjust the thresholds: --frequency-threshold … --entropy-threshold … would give … of tokens "
    "and … of occurrences.": (
        "tests/reports/verdict/test_entailment.py::test_every_sentence_is_entailed_by_its_numbers"
    ),
    "Try a different model (--model)….": "advice on what to study, not on a fault",
    # the shell, which needs a terminal
    "no command …: .help lists them": (
        "tests/flows/sql/test_shell.py::test_help_names_every_command"
    ),
    "… needs a name: …": (
        "tests/flows/sql/test_shell.py::test_tables_and_columns_come_with_what_they_mean"
    ),
    "no mode …: choose one of …": (
        "tests/flows/sql/test_shell.py::test_the_mode_is_how_results_are_printed"
    ),
    '.output takes text: gatehouse sql "select …" --output FILE.parquet writes Parquet': (
        "tests/flows/cli/test_cli.py::test_sql_writes_results_and_runs_examples"
    ),
    "`show tables` also lists the … they are built from.": (
        "tests/flows/sql/test_shell.py::test_tables_and_columns_come_with_what_they_mean"
    ),
    "no table …: …": (
        "tests/flows/sql/test_shell.py::test_tables_and_columns_come_with_what_they_mean"
    ),
    # statements
    "a folder of the lake is a link: give … the name of one file, in quotes": (
        "tests/flows/sql/test_access.py"
        "::test_a_folder_of_the_lake_may_be_on_another_disk_which_stays_closed_around"
    ),
    "… leads through a link: name the file without `..`": (
        "tests/flows/sql/test_access.py"
        "::test_a_folder_of_the_lake_may_be_on_another_disk_which_stays_closed_around"
    ),
    "gatehouse is not attached: open a new session": (
        "tests/warehouse/test_notebook.py::test_a_table_in_a_variable_is_found_by_its_name"
    ),
    # the lineage page
    '--metric …: there is no such mart or column; `gatehouse sql "show tables"` lists the marts '
    '(dim_*, fct_*), and `gatehouse sql "describe fct_layer_routing"` the columns of one': (
        "tests/flows/steps/test_build.py::test_a_metric_that_no_mart_has_is_refused"
    ),
    "reports written before have no links to this page: `gatehouse report` adds them": (
        "tests/reports/page/test_report.py::"
        "test_every_section_names_its_columns_and_links_them_where_there_is_a_lineage_page"
    ),
    # what root, or this version, cannot meet
    "… was written by a newer DuckDB than … (…): use the environment that built it": (
        "tests/warehouse/test_connect.py::test_the_way_out_fits_the_cause"
    ),
    "cannot open …: you may not read it: ask its owner to let you": (
        "tests/warehouse/test_connect.py::test_the_way_out_fits_the_cause"
    ),
    "… is set, so the hub is not asked (unset it)": (
        "tests/warehouse/test_hub.py::test_the_variable_that_forbids_to_ask_the_hub_is_named"
    ),
    "…: the disk of … is full: make room; …": (
        "tests/flows/test_prefect_run.py::test_what_stopped_prefect_is_what_was_seen"
    ),
    " (…): delete …, which is damaged or of another version of Prefect and holds no result, and "
    "run the same command again": (
        "tests/flows/test_prefect_run.py"
        "::test_a_damaged_database_of_prefects_is_set_aside_in_one_line"
    ),
    "…… is too long for a file name: choose a shorter one": (
        "tests/flows/cli/test_cli.py::test_a_name_that_no_file_has_is_one_line"
    ),
    "… is not UTF-8: rename it, or name another": (
        "tests/flows/cli/test_cli.py::test_a_name_that_no_file_has_is_one_line"
    ),
    "cannot read …: …; check the file": (
        "tests/ingest/test_files.py::test_a_file_that_vanishes_is_refused_by_name"
    ),
    "…: …, … x … = …; … beyond --max-length dropped": "no remedy: how many tokens were",
}
"""What is printed, with … for what differs -> a test, or a reason."""
