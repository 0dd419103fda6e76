#!/bin/bash
# After the array: the marts of all finished runs and the latest run's report, on a node without a GPU:
#     sbatch --dependency=afterok:$(sbatch --parsable docs/slurm/array.sh …) docs/slurm/marts.sh
#SBATCH --job-name=gatehouse-marts
#SBATCH --cpus-per-task=16
#SBATCH --mem=64G
#SBATCH --time=02:00:00
#SBATCH --output=gatehouse-marts-%j.log

: "${GATEHOUSE_HOME:?name the folder of the warehouse}"
gatehouse build && gatehouse report
