"""Commands that make the warehouse: run, prepare, fetch, capture, build."""

from gatehouse.flows import options
from gatehouse.flows.options import paths_of
from gatehouse.flows.request import RunRequest


def run(
    model: options.Model = "demo",
    revision: options.Revision = None,
    dataset: options.Dataset = "pydoc",
    num_samples: options.NumSamples = 10_000,
    first_sample: options.FirstSample = 0,
    batch_size: options.BatchSize = 4,
    max_length: options.MaxLength = 512,
    windows: options.Windows = False,
    create_splits: options.CreateSplits = False,
    skip_broken: options.SkipBroken = False,
    dtype: options.Precision = "auto",
    quantize: options.Quantize = "auto",
    device_map: options.DeviceMap = None,
    attn_implementation: options.AttnImplementation = None,
    trust_remote_code: options.TrustRemoteCode = False,
    num_experts: options.NumExperts = None,
    layer: options.RunLayer = "0",
    frequency_threshold: options.FrequencyThreshold = 50,
    entropy_threshold: options.EntropyThreshold = 0.5,
    output: options.OutputFolder = None,
    home: options.Home = None,
) -> None:
    """Do everything: prepare, capture, build, validate, plot, report; resume where it stopped."""
    parameters = {name: value for name, value in locals().items() if name != "home"}
    paths_of(home)
    from gatehouse.flows import serving

    print(serving.run(**parameters))


def prepare(
    dataset: options.Dataset = "pydoc",
    num_samples: options.NumSamples = 10_000,
    first_sample: options.FirstSample = 0,
    create_splits: options.CreateSplits = False,
    skip_broken: options.SkipBroken = False,
    output_dir: options.PreparedFolder = None,
    home: options.Home = None,
) -> None:
    """Read a corpus and write it as numbered samples, each in its split."""
    request = RunRequest(
        dataset=dataset,
        num_samples=num_samples,
        first_sample=first_sample,
        create_splits=create_splits,
        skip_broken=skip_broken,
    )
    from gatehouse.flows.capturing import prepare_samples
    from gatehouse.warehouse.plain_text import counted

    prepared = prepare_samples(request, output_dir or paths_of(home).prepared)
    broken = f"{prepared.skipped_broken:,} broken and " if prepared.skipped_broken else ""
    print(
        f"{counted(prepared.num_samples, 'sample')} of {prepared.dataset}, "
        f"{broken}{counted(prepared.skipped_empty, 'empty one')} skipped: {prepared.path}"
    )


def fetch(
    name: options.ModelName = None,
    model: options.Model = "demo",
    revision: options.Revision = None,
    dtype: options.Precision = "auto",
    quantize: options.Quantize = "auto",
    device_map: options.DeviceMap = None,
    attn_implementation: options.AttnImplementation = None,
    trust_remote_code: options.TrustRemoteCode = False,
    analyze_structure: options.AnalyzeStructure = False,
    test: options.Test = False,
) -> None:
    """Download a model's config, tokenizer and safetensors into the hub's cache."""
    request = RunRequest(
        model=name or model,
        revision=revision,
        dtype=dtype,
        quantize=quantize,
        device_map=device_map,
        attn_implementation=attn_implementation,
        trust_remote_code=trust_remote_code,
    )
    from gatehouse.flows import fetch as fetching

    print(fetching.fetch(request, analyze_structure=analyze_structure, test=test))


def capture(
    model: options.Model = "demo",
    revision: options.Revision = None,
    dataset: options.Dataset = "pydoc",
    num_samples: options.NumSamples = 10_000,
    first_sample: options.FirstSample = 0,
    batch_size: options.BatchSize = 4,
    max_length: options.MaxLength = 512,
    windows: options.Windows = False,
    skip_broken: options.SkipBroken = False,
    dtype: options.Precision = "auto",
    quantize: options.Quantize = "auto",
    device_map: options.DeviceMap = None,
    attn_implementation: options.AttnImplementation = None,
    trust_remote_code: options.TrustRemoteCode = False,
    num_experts: options.NumExperts = None,
    home: options.Home = None,
) -> None:
    """Run the model and land its routing events; running it again resumes."""
    parameters = {name: value for name, value in locals().items() if name != "home"}
    paths = paths_of(home)
    request = RunRequest(**parameters)
    from gatehouse.flows import capturing

    print(capturing.capture(request, paths).line)


def build(home: options.Home = None) -> None:
    """Build and test the marts from the lake's finished runs with dbt."""
    paths = paths_of(home)
    from gatehouse.flows import building

    print(building.build(paths))
