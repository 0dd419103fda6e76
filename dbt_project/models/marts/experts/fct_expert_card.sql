with expert_load as (
    select * from {{ ref('fct_expert_load') }}
    where {{ of_new_runs_with_events() }}
),

layers as (
    select * from {{ ref('dim_layer') }}
    where {{ of_new_runs_with_events() }}
),

runs as (
    select * from {{ ref('stg_new_runs') }}
),

samples as (
    select * from {{ ref('dim_sample') }}
    where {{ of_new_runs() }}
),

token_experts as (
    select * from {{ ref('fct_token_expert') }}
    where {{ of_new_runs() }}
),

domain_experts as (
    select * from {{ ref('fct_domain_expert') }}
    where {{ of_new_runs() }}
),

pairs as (
    select * from {{ ref('fct_expert_coactivation') }}
    where {{ of_new_runs() }}
),

calibrated as (
    select * from {{ ref('int_calibrated_expert') }}
    where {{ of_new_runs('run_key') }}
),

profiles as (
    select * from {{ ref('int_expert_profile') }}
    where {{ of_new_runs('run_key') }}
),

sized as (
    select
        expert_load.*,
        runs.run_key,
        cast(sum(expert_load.selections) over layer_experts as bigint) // layers.top_k as tokens
    from expert_load
    inner join layers
        on expert_load.run_id = layers.run_id and expert_load.layer = layers.layer
    inner join runs on expert_load.run_id = runs.run_id
    window layer_experts as (partition by expert_load.run_id, expert_load.layer)
),

-- the share of a layer's tokens that select the expert
rated as (
    select
        *,
        selections / nullif(tokens, 0) as rate
    from sized
),

lifted_tokens as (
    select
        token_experts.run_id,
        token_experts.layer,
        token_experts.expert,
        token_experts.token_id,
        token_experts.frequency,
        token_experts.selections,
        token_experts.selection_share / rated.rate as lift
    from token_experts
    inner join rated
        on
            token_experts.run_id = rated.run_id
            and token_experts.layer = rated.layer
            and token_experts.expert = rated.expert
    where
        token_experts.frequency >= {{ var('card_frequency') }}
        and token_experts.selection_share > rated.rate
),

top_tokens as (
    select
        *,
        row_number() over (
            partition by run_id, layer, expert
            order by lift desc, frequency desc, token_id asc
        ) as place
    from lifted_tokens
    qualify place <= {{ var('card_tokens') }}
),

listed_tokens as (
    select
        run_id,
        layer,
        expert,
        list(
            struct_pack(
                token_id := token_id,
                frequency := frequency,
                selections := selections,
                lift := lift
            )
            order by place
        ) as top_tokens
    from top_tokens
    group by run_id, layer, expert
),

lifted_pairs as (
    select
        pairs.run_id,
        pairs.layer,
        pairs.expert,
        pairs.other_expert,
        pairs.tokens,
        pairs.probability,
        pairs.probability / rated.rate as lift
    from pairs
    inner join rated
        on
            pairs.run_id = rated.run_id
            and pairs.layer = rated.layer
            and pairs.other_expert = rated.expert
    where pairs.tokens >= {{ var('card_frequency') }}
),

neighbours as (
    select
        *,
        row_number() over (
            partition by run_id, layer, expert
            order by lift desc, tokens desc, other_expert asc
        ) as place
    from lifted_pairs
    qualify place <= {{ var('card_neighbours') }}
),

listed_neighbours as (
    select
        run_id,
        layer,
        expert,
        list(
            struct_pack(
                expert := other_expert,
                tokens := tokens,
                probability := probability,
                lift := lift
            )
            order by place
        ) as neighbours
    from neighbours
    group by run_id, layer, expert
),

-- what a permutation moves: the part of a document in a domain
parts_of_documents as (
    select
        run_id,
        domain,
        document_sha256,
        sum(tokens) as tokens
    from samples
    where tokens > 0
    group by run_id, domain, document_sha256
),

domains as (
    select
        run_id,
        domain,
        count(*) as documents,
        cast(sum(tokens) as bigint) as domain_tokens
    from parts_of_documents
    group by run_id, domain
),

texts as (
    select
        run_id,
        count(*) as documents,
        cast(sum(tokens * tokens) as double) as squared_tokens
    from parts_of_documents
    group by run_id
),

expected as (
    select
        rated.run_id,
        rated.layer,
        rated.expert,
        rated.rate,
        domains.domain,
        domains.documents,
        domains.domain_tokens,
        coalesce(domain_experts.selections, 0) as selections,
        least(domains.documents, texts.documents - domains.documents) as fewer_documents,
        -- the variance of a domain's sum of residuals where documents change domains at random
        domains.documents * (texts.documents - domains.documents)
        / nullif(texts.documents * (texts.documents - 1), 0)
        * (
            calibrated.squared_selections
            - 2 * rated.rate * calibrated.selections_by_tokens
            + rated.rate * rated.rate * texts.squared_tokens
        ) as variance
    from rated
    inner join domains on rated.run_id = domains.run_id
    inner join texts on rated.run_id = texts.run_id
    inner join calibrated
        on
            rated.run_key = calibrated.run_key
            and rated.layer = calibrated.layer
            and rated.expert = calibrated.expert
    left join domain_experts
        on
            rated.run_id = domain_experts.run_id
            and rated.layer = domain_experts.layer
            and rated.expert = domain_experts.expert
            and domains.domain = domain_experts.domain
),

listed_domains as (
    select
        run_id,
        layer,
        expert,
        list(
            struct_pack(
                domain := domain,
                documents := documents,
                tokens := domain_tokens,
                selections := selections,
                log2_lift := case
                    when selections > 0 then log2(selections / domain_tokens / rate)
                end,
                z := case
                    when
                        fewer_documents >= {{ var('card_documents') }}
                        -- rounding leaves a little where all documents are alike
                        and variance > 1e-6
                        then (selections - rate * domain_tokens) / sqrt(variance)
                end
            )
            order by selections / domain_tokens desc, domain
        ) as domains
    from expected
    group by run_id, layer, expert
),

final as (
    select
        rated.run_id,
        rated.layer,
        rated.expert,
        rated.moe_index,
        rated.selections,
        rated.load_share,
        rated.load_ratio,
        rated.rate as selection_rate,
        case when runs.has_token_ids then coalesce(listed_tokens.top_tokens, []) end as top_tokens,
        coalesce(listed_neighbours.neighbours, []) as neighbours,
        coalesce(listed_domains.domains, []) as domains,
        case
            when runs.has_token_ids and layers.ranked and layers.has_distribution
                then coalesce(profiles.contexts, [])
        end as contexts,
        case
            when runs.has_token_ids
                then cast(
                    coalesce(
                        max(profiles.half_tokens) over (partition by rated.run_id, rated.layer), 0
                    ) as integer
                )
        end as half_tokens,
        profiles.half_correlation
    from rated
    inner join runs on rated.run_id = runs.run_id
    inner join layers on rated.run_id = layers.run_id and rated.layer = layers.layer
    left join profiles
        on
            rated.run_key = profiles.run_key
            and rated.layer = profiles.layer
            and rated.expert = profiles.expert
    left join listed_tokens
        on
            rated.run_id = listed_tokens.run_id
            and rated.layer = listed_tokens.layer
            and rated.expert = listed_tokens.expert
    left join listed_neighbours
        on
            rated.run_id = listed_neighbours.run_id
            and rated.layer = listed_neighbours.layer
            and rated.expert = listed_neighbours.expert
    left join listed_domains
        on
            rated.run_id = listed_domains.run_id
            and rated.layer = listed_domains.layer
            and rated.expert = listed_domains.expert
)

select * from final
