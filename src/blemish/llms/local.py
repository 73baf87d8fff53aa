"""Vision-language models of `transformers` on this machine: no server, no network, no bill."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from blemish.errors import ChatError, OptionError
from blemish.llms._checkpoint import load
from blemish.llms._conversation import prepare, spoken
from blemish.llms._together import Question, Together
from blemish.types import Message, Reply, Usage

DTYPES = ("auto", "float32", "float16", "bfloat16")


class LocalChat:
    """An image-text-to-text model of `transformers`, from a folder or the hub.

    Pictures go through the checkpoint's own processor in its Pillow version, which needs no
    torchvision. The most likely token is taken at each step unless a temperature is given; then
    the seed of a question is `seed + attempt`, and questions are answered one at a time, so that a
    reply does not depend on its neighbours. A JSON schema cannot be enforced here and is named in
    `Reply.dropped`. Safe to call from many threads: what they ask while the model is busy goes
    through it together, next.

    Args:
        name_or_folder: a folder, or a repository of the hub, which is fetched into the hub's
            cache unless HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set.
        device: "cpu" or another torch device, such as "cuda".
        dtype: "auto" (the checkpoint's own), "float32", "float16" or "bfloat16".
        batch_size: conversations a pass.
        max_new_tokens: where a reply is cut off.
        temperature: 0 for the most likely token.
        seed: where the temperature is above 0.

    Raises:
        OptionError: an option out of its range.
        WeightsError: the model is not there or cannot be used.
    """

    def __init__(
        self,
        name_or_folder: str | Path,
        *,
        device: str = "cpu",
        dtype: str = "auto",
        batch_size: int = 4,
        max_new_tokens: int = 512,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> None:
        if dtype not in DTYPES:
            raise OptionError(f"dtype {dtype!r} came; expected one of {', '.join(DTYPES)}.")
        if batch_size < 1 or max_new_tokens < 1 or not 0 <= temperature < math.inf:
            raise OptionError(
                f"batch_size {batch_size}, max_new_tokens {max_new_tokens} and temperature "
                f"{temperature} came; expected at least 1, 1 and 0."
            )
        checkpoint = load(name_or_folder, device, dtype)
        path = Path(name_or_folder).expanduser()
        self.name = path.resolve().name if path.is_dir() else str(name_or_folder)
        self.batch_size = 1 if temperature else batch_size
        self.max_new_tokens = max_new_tokens
        self.temperature = temperature
        self.seed = seed
        self._model, self._processor = checkpoint.model, checkpoint.processor
        self._tokenizer = self._processor.tokenizer
        sampling = f"t{temperature}:s{seed}" if temperature else "greedy"
        self.fingerprint = (
            f"transformers:{self.name}:{checkpoint.revision}:{self._model.dtype}:"
            f"{self._model.device.type}:{max_new_tokens}:{sampling}"
        )
        # One batch gathers while another goes through the model.
        self.concurrency = 2 * self.batch_size
        self._together = Together(self._answer, self.batch_size)

    def chat(
        self,
        messages: Sequence[Message],
        *,
        schema: Mapping[str, Any] | None = None,
        logprobs: int = 0,
        attempt: int = 0,
    ) -> Reply:
        """One answer. See `blemish.types.ChatModel`; errors as for `chat_batch`."""
        return self._together.ask([Question(messages, schema, logprobs, attempt)])[0]

    def chat_batch(
        self,
        conversations: Sequence[Sequence[Message]],
        *,
        schema: Mapping[str, Any] | None = None,
        logprobs: int = 0,
        attempt: int = 0,
    ) -> list[Reply]:
        """One answer a conversation, in order, `batch_size` of them at a time.

        Log-probabilities are the model's own, before temperature. Conversations share a pass
        where they hold equally many pictures. A batch that does not fit into memory is halved
        once, and so are those after it; in one that fails otherwise, each is asked by itself.

        Args:
            conversations: each as for `chat`.
            schema: not followed; see `Reply.dropped`.
            logprobs: how many alternatives a token to give; 0 for none.
            attempt: added to the seed.

        Raises:
            ChatError: a conversation that the model cannot take: too long, or in an order that
                its chat template refuses; or too little memory.
        """
        asked = [Question(messages, schema, logprobs, attempt) for messages in conversations]
        return self._together.ask(asked)

    def stream(self, messages: Sequence[Message]) -> Iterator[str]:
        """The answer piece by piece; closing the iterator stops the model at its next token.

        Raises:
            ChatError: as for `chat_batch`.
        """
        import torch
        from transformers import StoppingCriteriaList, TextIteratorStreamer

        stop = threading.Event()
        failed: list[Exception] = []
        streamer: Any = TextIteratorStreamer(
            self._tokenizer, skip_prompt=True, skip_special_tokens=True
        )

        def asked_to_stop(ids: Any, scores: Any, **_: Any) -> Any:
            return torch.full((len(ids),), stop.is_set(), device=ids.device)

        def work() -> None:
            try:
                with self._together.turn:
                    self._generate(
                        self._inputs([messages]),
                        0,
                        streamer=streamer,
                        stopping_criteria=StoppingCriteriaList([asked_to_stop]),
                    )
            except Exception as error:  # Raised below, in the thread that reads.
                failed.append(error)
            finally:
                streamer.end()

        worker = threading.Thread(target=work, daemon=True)
        worker.start()
        try:
            yield from (piece for piece in streamer if piece)
        finally:
            stop.set()
            worker.join()
        for error in failed:
            if isinstance(error, ChatError):
                raise error
            raise self._too_large([messages]) if _is_memory(error) else self._failed(error)

    def _answer(self, some: Sequence[Question], halved: bool = False) -> None:
        """Answer questions of one kind in one pass, or in smaller ones where that fails."""
        try:
            replies = self._replies(some)
        except ChatError as error:
            if len(some) == 1:
                return some[0].answer.set_exception(error)
            for question in some:
                self._answer([question])
            return
        if replies is not None:
            for question, reply in zip(some, replies, strict=True):
                question.answer.set_result(reply)
        elif halved or len(some) == 1:
            for question in some:
                question.answer.set_exception(self._too_large([q.messages for q in some]))
        else:
            self._together.most = half = math.ceil(len(some) / 2)
            self._answer(some[:half], halved=True)
            self._answer(some[half:], halved=True)

    def _replies(self, some: Sequence[Question]) -> list[Reply] | None:
        """Replies to one batch, or None where memory ran out."""
        import torch

        logprobs = some[0].logprobs
        began = time.perf_counter()
        try:
            inputs = self._inputs([question.messages for question in some])
            # A seed matters only to questions that are asked alone.
            out = self._generate(inputs, some[0].attempt, output_logits=logprobs > 0)
        except ChatError:
            raise
        # A model may fail in any way on what it was not made for.
        except Exception as error:
            if not _is_memory(error):
                raise self._failed(error) from error
            out = None
        # Only now has the error let go of the tensors that its traceback held.
        if out is None:
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            return None
        seconds = {"language model": (time.perf_counter() - began) / len(some)}
        replies = []
        for row, mask in enumerate(inputs["attention_mask"]):
            ids = out.sequences[row, inputs["input_ids"].shape[1] :].tolist()
            kept = next((i for i, token in enumerate(ids) if token in self._ends()), len(ids))
            replies.append(
                Reply(
                    self._tokenizer.decode(ids[:kept], skip_special_tokens=True),
                    Usage(1, int(mask.sum()), min(kept + 1, len(ids)), 0.0, seconds),
                    "length" if kept == self.max_new_tokens else "stop",
                    spoken(self._tokenizer, ids[:kept], out.logits, row, logprobs)
                    if logprobs
                    else (),
                    self.name,
                    () if some[row].schema is None else ("schema",),
                )
            )
        return replies

    def _inputs(self, conversations: Sequence[Sequence[Message]]) -> Any:
        """What the model takes, on its device; raises ChatError where it is too long."""
        inputs = prepare(self._processor, conversations, self.name)
        length = int(inputs["attention_mask"].sum(1).max())
        limit = getattr(self._model.config.get_text_config(), "max_position_embeddings", None)
        if limit and length + self.max_new_tokens > limit:
            raise ChatError(
                f"{self.name} reads and writes {limit} tokens together; a conversation of {length} "
                f"and a reply of up to {self.max_new_tokens} came. Show fewer or smaller pictures, "
                "say less, or lower max_new_tokens."
            )
        return inputs.to(self._model.device, dtype=self._model.dtype)

    def _generate(self, inputs: Any, attempt: int, **options: Any) -> Any:
        import torch
        from transformers import LogitsProcessorList

        if self.temperature:
            options |= {"do_sample": True, "temperature": self.temperature}
        else:
            options["do_sample"] = False
        device = self._model.device
        # The seed is torch's own and global, so it is put back afterwards.
        with (
            torch.inference_mode(),
            torch.random.fork_rng([device] if device.type == "cuda" else []),
        ):
            torch.manual_seed(self.seed + attempt)
            return self._model.generate(
                **inputs,
                max_new_tokens=self.max_new_tokens,
                num_beams=1,
                pad_token_id=self._tokenizer.pad_token_id,
                return_dict_in_generate=True,
                logits_processor=LogitsProcessorList([self._refuse_nan]),
                **options,
            )

    def _refuse_nan(self, ids: Any, scores: Any) -> Any:
        """Without this, the most likely token of not-a-numbers would be taken as an answer."""
        if scores.isnan().any():
            raise ChatError(
                f"{self.name} computed not-a-number in {self._model.dtype}. Take dtype 'float32' "
                "or 'bfloat16', and check that the checkpoint is whole."
            )
        return scores

    def _ends(self) -> set[int]:
        """The tokens that end a reply."""
        ends = self._model.generation_config.eos_token_id
        return set(ends) if isinstance(ends, list) else {ends}

    def _failed(self, error: Exception) -> ChatError:
        return ChatError(f"{self.name} failed at its answer: {type(error).__name__}: {error}")

    def _too_large(self, conversations: Sequence[Sequence[Message]]) -> ChatError:
        images = [i for some in conversations for message in some for i in message.images]
        largest = max((i.shape[:2] for i in images), key=math.prod, default=(0, 0))
        return ChatError(
            f"{self.name} ran out of memory on {self._model.device} at {len(conversations)} "
            f"conversation(s) with {len(images)} picture(s), the largest {largest[1]} x "
            f"{largest[0]} pixels, and replies of up to {self.max_new_tokens} tokens. Show fewer "
            "or smaller pictures, lower batch_size or max_new_tokens, or take a smaller dtype."
        )


def _is_memory(error: Exception) -> bool:
    """Whether torch ran out of memory; on the CPU it says so in words only."""
    import torch

    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError)
        and ("not enough memory" in str(error) or "can't allocate memory" in str(error))
    )
