"""The catalog: everything that can be asked of an indexed library."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval.config import ASK_LIMIT, ASK_SECONDS, DEFAULT_LIMIT, RERANK_DEPTH, RERANK_SECONDS, Location
from retrieval.db import reads
from retrieval.errors import QueryError
from retrieval.pictures import Pictures
from retrieval.state import State
from retrieval.stores import cache
from retrieval.types import Failure, Hits, Status, TextHits, path_fields

if TYPE_CHECKING:
    from PIL import Image

    from retrieval.asking import Known, Sort
    from retrieval.atlas import Atlas
    from retrieval.concepts import Concepts
    from retrieval.describing.report import DescribeReport
    from retrieval.duplicates import Duplicates, Kind
    from retrieval.explain import Explanation
    from retrieval.feedback import Feedback
    from retrieval.groups import Group
    from retrieval.protocols import Answerer, Captioner, Encoder, Progress
    from retrieval.query.filters import Filter
    from retrieval.query.terms import Picture, Query
    from retrieval.speech import Example, Style
    from retrieval.tags import Tags
    from retrieval.texts import Texts
    from retrieval.types import Answer, Description


class Catalog:
    """A library of indexed pictures, opened for asking.

    `place` is a catalog folder or an SQLAlchemy URL; without one, `$SEARCH_CATALOG` or the
    user's own catalog. `create` makes an empty catalog where there is none. `encoder` is
    the model, by name or as an object, that `index_folder` is to embed with. `readonly`
    promises that nothing is written, caches included. `untrusted` is for a catalog that
    somebody else made: read only, and of its files nothing but the rows is believed. A
    catalog is safe to use from several threads and sees what an indexing process commits
    meanwhile. Use it as a context manager, or `close()` it.
    """

    def __init__(
        self,
        place: str | os.PathLike[str] | Location | None = None,
        *,
        encoder: str | Encoder | None = None,
        create: bool = False,
        readonly: bool = False,
        untrusted: bool = False,
    ) -> None:
        if untrusted:
            place = Location.parse(place).of_a_stranger()
        self.state = State(place, encoder=encoder, create=create, readonly=readonly)
        self._pictures = Pictures(self.state)
        self._atlas: Atlas | None = None

    def __enter__(self) -> Catalog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Catalog({self.location.name!r})"

    def close(self) -> None:
        self.state.close()

    @property
    def location(self) -> Location:
        return self.state.location

    @property
    def encoder(self) -> str | Encoder | None:
        """The model the catalog was opened with, for `index_folder`."""
        return self.state.given

    @property
    def readonly(self) -> bool:
        return self.state.readonly

    @property
    def texts(self) -> Texts:
        """The texts of the catalog: `texts.add(...)`, `texts.list()`, `texts.remove(...)`."""
        from retrieval.texts import Texts

        return Texts(self.state)

    def search(
        self,
        query: str | os.PathLike[str] | Image.Image | Query,
        *,
        limit: int = DEFAULT_LIMIT,
        where: Filter | None = None,
        rerank: str | None = None,
        cutoff: bool = True,
        min_match: float | None = None,
        sort: Sort = "relevance",
        rerank_depth: int = RERANK_DEPTH,
        rerank_seconds: float | None = RERANK_SECONDS,
        allow_url: bool = False,
        good: Sequence[Known] = (),
        bad: Sequence[Known] = (),
        progress: Progress | None = None,
    ) -> Hits:
        """Find pictures by words, by a picture, or by a sum of both, best first.

        A string is words, which may be a sum (`"horse + stripes - zoo"`) with learnt concepts
        (`"@rex"`), and never a file; a `Path` or an open Pillow image is a picture; a `Query`
        is any of them. Hits whose match is below the cut-off (`min_match`, else the encoder's
        own) are left out, and told in `Hits.closest`; `cutoff=False` gives the plain top
        `limit`. The filter acts before the search: `limit` pictures come back whenever that
        many pass. `rerank` names what looks again at the best `rerank_depth`, for at most about
        `rerank_seconds`: by default only the encoder's own second stage where it has one
        (`classes` for the starter), `none` for not even that. `good` and `bad` are answers that
        the ranking is to learn from this once; `feedback` keeps them. `allow_url` lets pictures
        be fetched from the web.
        """
        from retrieval.asking import Asked, as_query, search

        asked = Asked(
            limit=limit,
            where=where,
            rerank=rerank,
            cutoff=cutoff,
            min_match=min_match,
            sort=sort,
            rerank_depth=rerank_depth,
            rerank_seconds=rerank_seconds,
            allow_url=allow_url,
            good=good,
            bad=bad,
            progress=progress,
        )
        return search(self.state, as_query(query), asked)

    def similar(
        self,
        image: Picture | Sequence[Picture],
        *,
        limit: int = DEFAULT_LIMIT,
        where: Filter | None = None,
        cutoff: bool = False,
        min_match: float | None = None,
        sort: Sort = "relevance",
        allow_url: bool = False,
    ) -> Hits:
        """Find pictures that look like one, or like several at once.

        A picture of the catalog, by id or path, is not encoded again, and not among its own
        hits. The nearest `limit` come back, however far they are, unless `cutoff` asks for
        those only that are alike.
        """
        from retrieval.asking import Asked, similar

        several = [image] if isinstance(image, str) or not isinstance(image, Sequence) else list(image)
        asked = Asked(
            limit=limit, where=where, cutoff=cutoff, min_match=min_match, sort=sort, allow_url=allow_url
        )
        return similar(self.state, several, asked)

    def match(
        self,
        image: Picture,
        *,
        limit: int = DEFAULT_LIMIT,
        cutoff: bool = False,
        min_match: float | None = None,
        allow_url: bool = False,
    ) -> TextHits:
        """The texts of the catalog that fit a picture best; see `texts`."""
        from retrieval.asking import match

        return match(self.state, image, limit=limit, cutoff=cutoff, min_match=min_match, allow_url=allow_url)

    def explain(
        self, query: str | os.PathLike[str] | Image.Image | Query, image: Picture, *, allow_url: bool = False
    ) -> Explanation:
        """Why a picture answers a query: what spoke for it, and where in it the match comes from."""
        from retrieval.asking import as_query, explained

        return explained(self.state, as_query(query), image, allow_url=allow_url)

    def ask(
        self,
        question: str,
        *,
        limit: int = ASK_LIMIT,
        answerer: str | Answerer | None = None,
        where: Filter | None = None,
        examples: Iterable[Example | tuple[Picture, str]] = (),
        follow_up: bool = False,
        after: Answer | None = None,
        keep: bool = False,
        rerank: str | None = None,
        seconds: float = ASK_SECONDS,
        check: bool = True,
        progress: Progress | None = None,
        on_text: Callable[[str], None] | None = None,
        on_answer: Callable[[Answer], None] | None = None,
    ) -> Answer:
        """Answer a question from the pictures, and cite them.

        The best `limit` pictures are looked at, of those that pass `where`. `answerer` is `rules`,
        `local` or `endpoint`, with a model behind a colon, or an object; by default the endpoint
        where one is set up, else rules. Numbers, times, places and cameras come from the catalog's
        rows, never from a model. `examples` are pictures with the right answers, for a model to
        learn from. After about `seconds` the answer is made from what there is by then. Sentences
        that nothing bears out are dropped, unless `check` is False. `keep` writes the question and
        its answer into the catalog, and `follow_up` goes on from what was kept; `after` goes on
        from an answer, and nothing is written. `on_text` gets a model's draft as it comes,
        unchecked, and `on_answer` the answer, before `keep` writes it.
        """
        from retrieval.answers import ask

        return ask(
            self.state,
            question,
            limit=limit,
            answerer=answerer,
            where=where,
            examples=examples,
            follow_up=follow_up,
            after=after,
            keep=keep,
            rerank=rerank,
            seconds=seconds,
            check=check,
            progress=progress,
            on_text=on_text,
            on_answer=on_answer,
        )

    def evidence(self, answer: Answer) -> list[Explanation]:
        """Where in each picture that an answer cites its sentence is borne out, in their order.

        A picture that cannot be read now is left out; `Explanation.image_id` tells which are there.
        """
        from retrieval.answers import evidence

        return evidence(self.state, answer)

    def describe(
        self,
        image: Picture,
        *,
        captioner: str | Captioner | None = None,
        style: Style = "caption",
        allow_url: bool = False,
    ) -> Description:
        """A picture in words, of the catalog or not, by id, path or as an open Pillow image.

        `captioner` is `describer`, `local`, `blip` or `endpoint`, with a model behind a colon, or an
        object; by default the endpoint where one is set up, else the built-in describer, which
        does not look: it goes by tags, texts and metadata. The style `alt` is for screen readers.
        Nothing is kept; `describe_library` does that. `Description.note` says what should be
        known of who speaks.
        """
        from retrieval.describing.one import describe

        return describe(self.state, image, captioner=captioner, style=style, allow_url=allow_url)

    def describe_library(
        self,
        *,
        captioner: str | Captioner | None = None,
        style: Style = "caption",
        where: Filter | None = None,
        again: bool = False,
        candidates: int = 1,
        matcher: str | None = None,
        limit: int | None = None,
        progress: Progress | None = None,
        stopped: Callable[[], bool] | None = None,
        seconds: float | None = None,
    ) -> DescribeReport:
        """Describe the pictures that this captioner has not described as they are now.

        What is said is kept as `descriptions`; captions by a model that sees are also texts of
        the source `caption`, which searches go through. A picture that changes, or gets another
        captioner, is described anew, but for what a model saw, which one that does not look
        leaves as it is. `again` takes the others too, those that were not described for the
        longest time first, so that with a `limit` it goes round. With several `candidates` (or a
        `matcher`) only captions that the image-text matcher agrees with are kept, the best of
        each picture; a picture with none is not tried again unless `again`. Each batch is kept as
        it is done, when the run is interrupted (by `stopped` answering True or by
        KeyboardInterrupt), after about `seconds`, and when the model fails midway, which raises.
        Between batches the catalog is free for others who write; a second run beside this one is
        refused with `CatalogBusy`.
        """
        from retrieval.describing.library import describe_library

        return describe_library(
            self.state,
            captioner=captioner,
            style=style,
            where=where,
            again=again,
            candidates=candidates,
            matcher=matcher,
            limit=limit,
            progress=progress,
            stopped=stopped,
            seconds=seconds,
        )

    def descriptions(self, *, where: Filter | None = None, style: Style = "caption") -> Iterator[Description]:
        """What `describe_library` keeps of the pictures, in the order that they were indexed."""
        from retrieval.describing.library import stored_descriptions

        return stored_descriptions(self.state, where=where, style=style)

    def duplicates(
        self,
        kinds: Sequence[Kind] | None = None,
        *,
        where: Filter | None = None,
        progress: Progress | None = None,
    ) -> list[Duplicates]:
        """Groups of pictures that are the same file, the same picture, or the same moment."""
        from retrieval.duplicates import duplicates

        return duplicates(self.state, kinds, where=where, progress=progress)

    def not_duplicates(self, pictures: Sequence[int | str | os.PathLike[str]], *, undo: bool = False) -> int:
        """Remember that these are different pictures, or with `undo` forget it; returns how many pairs."""
        from retrieval.duplicates import not_duplicates

        return not_duplicates(self.state, pictures, undo=undo)

    def groups(self, k: int | None = None, *, where: Filter | None = None) -> list[Group]:
        """The pictures in groups by meaning, each with a name; the largest first."""
        from retrieval.groups import groups

        return groups(self.state, k, where=where)

    @property
    def pictures(self) -> Pictures:
        """The pictures themselves: `pictures.get(id)`, `pictures.list(order="newest")`."""
        return self._pictures

    @property
    def atlas(self) -> Atlas:
        """The library on a plane, alike pictures together: `atlas.map()`, made better by `atlas.make()`."""
        from retrieval.atlas import Atlas

        if self._atlas is None:
            self._atlas = Atlas(self.state)
        return self._atlas

    def thumbnail(self, image_id: int, size: int = 320) -> bytes:
        """A picture of the catalog as a small JPEG, upright; kept in the catalog's cache."""
        from retrieval.thumbnails import thumbnail

        return thumbnail(self.state, self.pictures.get(image_id), size).data

    @property
    def tags(self) -> Tags:
        """The vocabulary, and the tags of pictures."""
        from retrieval.tags import Tags

        return Tags(self.state)

    @property
    def concepts(self) -> Concepts:
        """What was taught by examples."""
        from retrieval.concepts import Concepts

        return Concepts(self.state)

    @property
    def feedback(self) -> Feedback:
        """What was said of answers."""
        from retrieval.feedback import Feedback

        return Feedback(self.state)

    def status(self) -> Status:
        """What the catalog holds; loads no model and no vectors."""
        with self.state.snapshot() as reader:
            known = reads.encoders(reader)
            active = next((info for info in known if info.active), None)
            embedded = reads.embedded_counts(reader)
            kind, fresh = "none", active is None
            if active is not None:
                kind, fresh = cache.is_fresh(
                    self.location.cache, active.cache_key, active.dim, active.generation, active.epoch
                )
            return Status(
                catalog=self.location.name,
                **reads.counts(reader),
                encoder=active.key if active else None,
                encoders=tuple(
                    {
                        "id": info.key,
                        "model": info.spec,
                        "dim": info.dim,
                        "images": embedded.get(info.id, 0),
                        "state": info.state,
                        "active": info.active,
                        "recall": cache.recall(self.location.cache, info.cache_key),
                    }
                    for info in known
                ),
                roots=tuple(self._root(path) for path in reads.roots(reader)),
                store=kind,
                cache_fresh=fresh,
                db_bytes=reader.size(),
            )

    def counts(self) -> dict[str, int]:
        """How many `images`, `missing`, `failures` and `texts` there are."""
        with self.state.snapshot() as reader:
            return reads.counts(reader)

    def failures(self) -> list[Failure]:
        """The files that could not be indexed, by path."""
        with self.state.snapshot():
            rows = reads.failures(self.state.reader)
        return [Failure(Path(os.fsdecode(path)), reason, detail) for path, reason, detail in rows]

    def forget(self, path: str | os.PathLike[str]) -> int:
        """Take a picture, or a folder of them, out of the catalog; the files stay where they are.

        Returns how many pictures were taken out. Indexing their folder brings them back.
        """
        target = os.fsencode(os.path.abspath(os.path.expanduser(path)))
        with self.state.writer() as writer:
            return writer.forget(target)

    def gc(self, *, encoders: bool = False) -> dict[str, int]:
        """Remove for good what only waits for a file to return; with `encoders`, unused models' vectors.

        Returns how many pictures, failures and encoders went, and the bytes given back.
        """
        from retrieval.thumbnails import sweep

        with self.state.snapshot():
            reader = self.state.reader
            before = reader.size()
            unused = [info.id for info in reads.encoders(reader) if not info.active] if encoders else []
            stale = [path for path, _, _ in reads.failures(reader) if not os.path.lexists(path)]
        with self.state.writer() as writer:
            images = writer.collect()
            writer.forget_failures(stale)
            writer.drop_encoders(unused)
            writer.compact()
        with self.state.snapshot():
            reader = self.state.reader
            known = reads.encoders(reader)
            keys = [key for info in known for key in (info.cache_key, info.text_cache_key)]
            cache.sweep_folders(self.location.cache, keys)
            freed = max(0, before - reader.size()) + sweep(self.state)
        return {"images": images, "failures": len(stale), "encoders": len(unused), "bytes": freed}

    def rebuild(self, *, store: str | None = None) -> int:
        """Make the caches of vectors anew from the rows; returns how many vectors that was.

        `store` is `auto`, `flat` or `faiss`, and kept from then on.
        """
        from retrieval.stores.opening import KINDS

        self.state.check_writable()
        if store is not None and store not in KINDS:
            raise QueryError(f"'{store}' is not a kind of store. There are: {', '.join(KINDS)}")
        return self.state.rebuilt(store)

    def refresh(self) -> None:
        """Bring the active encoder's cache up to the rows, so that the next query finds it ready."""
        with self.state.snapshot() as reader:
            info = reads.active_encoder(reader)
            if info is not None:
                self.state.images(info, save=True)
                if info.text_generation:
                    self.state.texts(info, save=True)

    def _root(self, path: bytes) -> dict[str, object]:
        return {
            **path_fields(os.fsdecode(path)),
            "online": os.path.isdir(path),
            "images": reads.count_under(self.state.reader, path),
        }
