with cards as (
    select * from {{ ref('fct_expert_card') }}
    where {{ of_new_runs() }}
),

layers as (
    select * from {{ ref('dim_layer') }}
    where {{ of_new_runs_with_events() }}
),

expert_load as (
    select * from {{ ref('fct_expert_load') }}
    where {{ of_new_runs_with_events() }}
),

token_experts as (
    select * from {{ ref('fct_token_expert') }}
    where {{ of_new_runs() }}
),

counted as (
    select
        run_id,
        layer,
        count(*) as cards
    from cards
    group by run_id, layer
),

missing_cards as (
    select
        layers.run_id,
        layers.layer
    from layers
    left join counted
        on layers.run_id = counted.run_id and layers.layer = counted.layer
    where layers.num_experts is distinct from counted.cards
),

shown_domains as (
    select
        run_id,
        layer,
        expert,
        unnest(domains) as shown
    from cards
),

sums as (
    select
        shown_domains.run_id,
        shown_domains.layer,
        shown_domains.expert,
        sum(shown_domains.shown.selections) as selections,
        sum(shown_domains.shown.tokens) as tokens
    from shown_domains
    group by shown_domains.run_id, shown_domains.layer, shown_domains.expert
),

wrong_sums as (
    select
        cards.run_id,
        cards.layer
    from cards
    left join expert_load
        on
            cards.run_id = expert_load.run_id
            and cards.layer = expert_load.layer
            and cards.expert = expert_load.expert
    left join sums
        on
            cards.run_id = sums.run_id
            and cards.layer = sums.layer
            and cards.expert = sums.expert
    where
        cards.selections is distinct from expert_load.selections
        or coalesce(sums.selections, 0) <> cards.selections
        or abs(cards.selection_rate * sums.tokens - cards.selections) > 1e-6
),

shown_tokens as (
    select
        run_id,
        layer,
        expert,
        unnest(top_tokens) as shown
    from cards
),

wrong_tokens as (
    select
        shown_tokens.run_id,
        shown_tokens.layer
    from shown_tokens
    left join token_experts
        on
            shown_tokens.run_id = token_experts.run_id
            and shown_tokens.layer = token_experts.layer
            and shown_tokens.expert = token_experts.expert
            and shown_tokens.shown.token_id = token_experts.token_id
    where
        shown_tokens.shown.selections is distinct from token_experts.selections
        or shown_tokens.shown.frequency is distinct from token_experts.frequency
),

final as (
    select * from missing_cards
    union all
    select * from wrong_sums
    union all
    select * from wrong_tokens
)

select * from final
