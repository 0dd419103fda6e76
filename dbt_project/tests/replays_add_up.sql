with replays as (
    select * from {{ ref('fct_replay') }}
    where {{ of_new_replays() }}
),

replay_samples as (
    select * from {{ ref('fct_replay_sample') }}
    where {{ of_new_replays() }}
),

replay_layers as (
    select * from {{ ref('fct_replay_layer') }}
    where {{ of_new_replays() }}
),

runs as (
    select * from {{ ref('dim_run') }}
    where {{ of_new_replays() }}
),

of_samples as (
    select
        run_id,
        policy_id,
        count(*) as samples,
        sum(tokens) as tokens,
        coalesce(sum(nll * tokens), 0) as nll,
        sum(token_layers) as token_layers,
        sum(covered) as covered,
        sum(agreed) as agreed
    from replay_samples
    group by run_id, policy_id
),

of_layers as (
    select
        run_id,
        policy_id,
        max(rows) - min(rows) as surplus,
        sum(rows) as token_layers,
        sum(covered) as covered,
        sum(agreed) as agreed
    from replay_layers
    group by run_id, policy_id
),

compared as (
    select
        replays.*,
        runs.dtype,
        of_samples.samples = replays.samples
        and of_samples.tokens = replays.tokens
        and abs(of_samples.nll - coalesce(replays.nll * replays.tokens, 0)) <= 1e-9 * of_samples.nll
        and of_samples.token_layers = replays.token_layers
        and of_samples.covered = replays.covered
        and of_samples.agreed = replays.agreed as is_that_of_samples,
        of_layers.surplus = 0
        and of_layers.token_layers = replays.token_layers
        and of_layers.covered = replays.covered
        and of_layers.agreed = replays.agreed as is_that_of_layers
    from replays
    left join runs on replays.run_id = runs.run_id
    left join of_samples
        on replays.run_id = of_samples.run_id and replays.policy_id = of_samples.policy_id
    left join of_layers
        on replays.run_id = of_layers.run_id and replays.policy_id = of_layers.policy_id
),

final as (
    select * from compared
    where
        (
            is_that_of_samples
            and is_that_of_layers
            and (kind <> 'own routing' or agreed = covered)
            -- sums on a GPU may depend on the order of threads
            and (
                kind <> 'own routing'
                or dtype <> 'float32'
                or abs(coalesce(delta_nll, 0)) <= 1e-6
            )
        ) is not true
)

select * from final
