"""What a load test is told, and what it tells: its program is the operator's, and its image is the engine's."""

from pydantic import Field

from stagecoach.contract.digests import Digest
from stagecoach.contract.loading import Wanted
from stagecoach.contract.model import ContractModel

# Keys of the deployment, in the environment of the program.
TOKEN_VARIABLE, KEY_VARIABLE = "STAGECOACH_LOADER_TOKEN", "OPENAI_API_KEY"


class LoadTestJob(ContractModel):
    """Ask a model, once it answers, as many clients would."""

    identity: Digest = Field(description="Of what is tested, and by what: the report repeats it.")
    model: str = Field(description="What the engine calls it.")
    wanted: Wanted = Field(description="What the loader is to bring for that.")
    requests: int
    requests_per_second: float
    prompt_tokens: int
    output_tokens: int
    start_seconds: int = Field(description="So long the model may take until it answers.")
    load_seconds: int = Field(description="So long the load may take until all of it is answered.")


class LoadTestReport(ContractModel):
    """What came of it: numbers alone, which the operator judges."""

    identity: Digest = Field(description="That of the job.")
    completed: int
    failed: int
    input_tokens: int = Field(description="Of the prompts of all that completed.")
    output_tokens: int = Field(description="Of their answers.")
    seconds: float = Field(description="From the first request to the last answer.")
    p50: float = Field(description="Milliseconds in which 50 of 100 answers were whole.")
    p99: float = Field(description="Milliseconds in which 99 of 100 answers were whole.")
    first_token: float = Field(description="Milliseconds in which 99 of 100 answers had begun.")
    error: str = Field("", max_length=200, description="Why the first of those that failed did.")
