with latest_run as (
    select run_id from {{ ref('dim_run') }}
    order by finished_at desc, run_id desc
    limit 1
),

predictions as (
    select * from {{ ref('fct_prefetch_recall') }}
),

layers as (
    select * from {{ ref('dim_layer') }}
),

-- as many experts as a token selects, or the next size that there is
budgets as (
    select
        predictions.run_id,
        predictions.layer,
        min(predictions.budget) as budget
    from predictions
    inner join layers on predictions.run_id = layers.run_id and predictions.layer = layers.layer
    where predictions.budget >= layers.top_k
    group by predictions.run_id, predictions.layer
),

final as (
    select
        predictions.phase,
        predictions.predictor,
        predictions.horizon,
        predictions.budget,
        round(sum(predictions.hits) / sum(predictions.accesses), 3) as recall,
        round(min(predictions.recall), 3) as recall_of_worst_layer,
        round(avg(predictions.chance_recall), 3) as chance
    from predictions
    inner join latest_run on predictions.run_id = latest_run.run_id
    inner join budgets
        on
            predictions.run_id = budgets.run_id
            and predictions.layer = budgets.layer
            and predictions.budget = budgets.budget
    group by predictions.phase, predictions.predictor, predictions.horizon, predictions.budget
)

select * from final
order by phase desc, recall desc, predictor asc, horizon asc
