"""The gates between challenger and champion; Dagster shows each as a blocking check, `cliplit models promote` asks all.

A gate never raises for what is wrong with the challenger: it says so, and the challenger does not reign.
What measures is imported where it measures: Dagster reads this file to draw its graph, and torch takes seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from cliplit.config import load_params
from cliplit.errors import UserError
from cliplit.lineage import digests, dvc, registry
from cliplit.lineage.registry import Challenge, Verdict

Gate = Callable[[Path, Challenge], Verdict]


def judge(project: Path, challenge: Challenge, without_champion: bool = False) -> list[Verdict]:
    """What every gate says, "beats_champion" first.

    ``without_champion`` lets the photos as they were taken stand for a champion, but only for one whose bytes are lost.
    """
    if without_champion and challenge.champion_lost:
        challenge = replace(challenge, champion=None, champion_lost="")
    return [ask(name, project, challenge) for name in GATES]


def ask(name: str, project: Path, challenge: Challenge) -> Verdict:
    """What the gate ``name`` says."""
    try:
        return GATES[name](project, challenge)
    except UserError as error:
        return Verdict(name, False, str(error))


def beats_champion(project: Path, challenge: Challenge) -> Verdict:
    """Better than the champion on the held-out photos of today, at the lower end of the 95 % interval.

    Where none reigns, the photos as they were taken stand for the champion.
    """
    from cliplit.promotion import measure
    from cliplit.promotion.gain import gain

    params = load_params(project / "params.yaml")
    rule, champion = params.promotion, challenge.champion
    if champion and champion.number == challenge.challenger.number:
        return Verdict("beats_champion", True, f"version {champion.number} reigns already")
    if champion and challenge.champion_lost:
        reason = (
            f"version {champion.number}, which reigns, cannot be compared with ({challenge.champion_lost}); where that "
            "does not help, `cliplit models promote --without-champion` compares with the photos as they were taken"
        )
        return Verdict("beats_champion", False, reason)
    mine = measure.per_photo(params, project, challenge.challenger_file)
    theirs = measure.per_photo(params, project, challenge.champion_file)
    found = gain(mine, theirs, rule.metric)
    rival = f"version {champion.number}" if champion else "the photos as they were taken"
    passed = found.low > rule.min_gain
    reason = (
        f"{rule.metric} is {found.mean:+.4f} against {rival} (95 % interval {found.low:+.4f} to {found.high:+.4f}, "
        f"{found.n} photos), {'more' if passed else 'not surely more'} than {rule.min_gain:g}"
    )
    figures = {"gain": found.mean, "gain_low": found.low, "gain_high": found.high, "photos": float(found.n)}
    return Verdict("beats_champion", passed, reason, figures)


def harms_no_well_lit_photo(project: Path, challenge: Challenge) -> Verdict:
    """Held-out photos that were well lit stay as they are: in the mean, and all but a few of them."""
    from cliplit.promotion import measure

    params = load_params(project / "params.yaml")
    rule = params.promotion
    table = measure.per_photo(params, project, challenge.challenger_file)
    levels = table.loc[table["set"] == "well_lit", "harm_psnr_db"]
    mean, share = float(levels.mean()), float((levels < rule.min_harmless_db).mean())
    passed = mean >= rule.min_harmless_db and share <= rule.max_harmed_share
    reason = (
        f"well-lit photos keep {mean:.1f} dB in the mean, {share:.0%} of {len(levels)} less than "
        f"{rule.min_harmless_db:g} dB ({rule.max_harmed_share:.0%} may)"
    )
    figures = {"psnr_db": mean, "psnr_db_least": float(levels.min()), "share_below": share}
    return Verdict("harms_no_well_lit_photo", passed, reason, figures)


def fast_and_small(project: Path, challenge: Challenge) -> Verdict:
    """Within the limits of time a megapixel, on the CPU, and of the model folder's size."""
    from cliplit.enhancer import Enhancer
    from cliplit.promotion import speed

    rule = load_params(project / "params.yaml").promotion
    took = speed.ms_per_megapixel(Enhancer.load(challenge.challenger_file, "cpu"))
    files = [path for path in challenge.challenger_file.parent.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files) / 1e6
    passed = took <= rule.max_ms_per_megapixel and size <= rule.max_megabytes
    reason = (
        f"{took:.0f} ms a megapixel (promotion.max_ms_per_megapixel: {rule.max_ms_per_megapixel:g}) "
        f"and {size:.2f} MB (promotion.max_megabytes: {rule.max_megabytes:g})"
    )
    return Verdict("fast_and_small", passed, reason, {"ms_per_megapixel": took, "megabytes": size})


def survives_hostile_photos(project: Path, challenge: Challenge) -> Verdict:
    """Black, white, one pixel, noise, 16 bit, HDR and the like come back finite and in their shape."""
    from cliplit.enhancer import Enhancer
    from cliplit.promotion import hostile

    faults, count = hostile.faults(Enhancer.load(challenge.challenger_file, "cpu"))
    reason = "; ".join(faults[:3]) or f"{count} of {count} hostile photos came back whole"
    figures = {"photos": float(count), "failed": float(len(faults))}
    return Verdict("survives_hostile_photos", not faults, reason, figures)


def bytes_match_dvc_lock(project: Path, challenge: Challenge) -> Verdict:
    """The challenger, the chosen model and its evaluation, each read and hashed anew, are what dvc.lock recorded."""
    version = challenge.challenger
    faults = [fault for stage in (registry.MODEL_STAGE, "evaluate") for fault in dvc.verify_bytes(project, stage)]
    recorded = dvc.outputs_md5(project, registry.MODEL_STAGE)
    if recorded != version.md5:
        faults.append(
            f"dvc.lock: it names the model {(recorded or 'none')[:8]}, version {version.number} is {version.md5[:8]}; "
            "run `cliplit models register`, or `git checkout` the dvc.lock of that version and `dvc checkout`"
        )
    if digests.path_md5(challenge.challenger_file.parent) != version.md5:
        faults.append(f"{challenge.challenger_file.parent}: its bytes are not those of version {version.number}")
    reason = "; ".join(faults[:3]) or f"all bytes of version {version.number} are those that dvc.lock names"
    return Verdict("bytes_match_dvc_lock", not faults, reason, {"differences": float(len(faults))})


GATES: dict[str, Gate] = {
    gate.__name__: gate
    for gate in (beats_champion, harms_no_well_lit_photo, fast_and_small, survives_hostile_photos, bytes_match_dvc_lock)
}
