"""Training speech from speech synthesizers: many languages, voices, speeds and pitches, without a download.

Sentences are words of a language drawn at random: what matters is a variety of sounds and voices, not sense. The
result depends on the seed and on the synthesizers' versions alone.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import soundfile

from nanocodec.atomic import replacing

WORDS: Mapping[str, str] = {
    "en-us": """yesterday the river rose above every bridge and nobody could cross until morning while three quiet
        judges measured strange fields of yellow barley thought about voyage jewels oxygen whether enough youth vision
        garage nephew laughed church thirsty shoulders choose world hurried south feather boiled oysters joyful zoo
        pleasure sing long kitchen wagon breathe clothes squeeze splendid texture twelfth""",
    "es": """ayer los niños corrieron por la montaña hasta encontrar una pequeña cueva llena de agua fría jamás quiso
        hablar con aquel guitarrista extranjero porque llovía mucho yegua ferrocarril zapato cigüeña pingüino ancho
        lengua bajo gente desde nuestro hueso viejo trabajo dulce árbol perro rápido muchacha caballo huir siempre""",
    "fr": """hier soir les oiseaux chantaient doucement au bord du fleuve tandis que notre voisin préparait un bon
        gâteau aux noisettes jeune huile pluie œuvre montagne feuille lointain parfum brun cœur vieux rouge rue lune
        champagne oignon travailler yeux soixante quelque juin bateau grenouille très étrange beaucoup longtemps""",
    "de": """gestern abend gingen wir zusammen über die alte brücke und hörten plötzlich ein merkwürdiges geräusch
        aus dem dunklen wald zwölf schöne vögel sprechen leise pferd königin fröhlich nächste straße bücher licht
        jung wasser zeit häuser euch möchte glück vielleicht schwierig zwischen knöpfe pfeffer sagen ganz durch""",
    "it": """ieri pomeriggio il vecchio pescatore raccontava storie meravigliose ai ragazzi della piazza mentre il
        sole scendeva dietro la collina gnocchi famiglia orologio zucchero chiesa giugno sciarpa bicchiere spiaggia
        uomo acqua quando troppo freddo azzurro stelle grazie voglio coraggio lunghissimo perché sempre dolce""",
    "nl": """gisteren liepen wij urenlang langs het brede kanaal terwijl de koude wind door onze jassen blies
        geen vreugde schrijven huis deur muziek lucht geel zuiver sneeuw kleine vogels eeuwig nieuw thuis boven jouw
        meisje graag achttien scheepje zingen morgen plotseling koningin begrijpen ruimte leuk bijna vrijheid""",
    "pl": """wczoraj późnym wieczorem dziewczyna znalazła w lesie dziwny srebrny klucz i schowała go pod kamieniem
        szczęście źródło żaba chrząszcz łódka jabłko miłość gwiazda książka ciepły język wąż dzień trzy przyjaciel
        jeszcze zawsze świat ręka pięć niebo morze chleb wiosna dźwięk czapka szybko między złoty ogród""",
    "pt-br": """ontem à tarde o velho marinheiro contou aos netos como atravessou o oceano num pequeno barco vermelho
        coração manhã filho chuva não mãe caminho trabalho junho gente lua água jardim velho noite também saudade
        pão irmã ninguém chegou azul depois sempre melhor cozinha rapaz três guerra quente longe muito viagem""",
}
_VARIANTS = (*(f"m{i}" for i in range(1, 9)), *(f"f{i}" for i in range(1, 6)))
FLITE_VOICES = ("awb", "rms", "slt", "kal16")
FESTIVAL_VOICES = ("kal_diphone", "cmu_us_slt_arctic_hts")


class SynthesizerMissingError(Exception):
    """No synthesizer is installed; the message names the packages."""


def sentences(words: Sequence[str], rng: random.Random) -> Iterator[str]:
    """Endless random sentences of 7 to 16 words."""
    while True:
        chosen = [rng.choice(words) for _ in range(rng.randint(7, 16))]
        if len(chosen) > 10:
            chosen[len(chosen) // 2] += ","
        yield " ".join(chosen).capitalize() + rng.choice(".....?!")


def espeak_command(text: str, language: str, rng: random.Random, wav: Path) -> list[str]:
    """espeak-ng with a random voice variant, 130 to 210 words a minute and pitch 20 to 80."""
    voice = f"{language}+{rng.choice(_VARIANTS)}"
    speed, pitch = rng.randint(130, 210), rng.randint(20, 80)
    return ["espeak-ng", "-v", voice, "-s", str(speed), "-p", str(pitch), "-w", str(wav), text]


def flite_command(text: str, rng: random.Random, wav: Path) -> list[str]:
    """flite (English) with a random voice, tempo and mean pitch."""
    voice = rng.choice(FLITE_VOICES)
    stretch = f"duration_stretch={rng.uniform(0.85, 1.25):.2f}"
    pitch = f"int_f0_target_mean={rng.randint(90, 150) + 70 * (voice == 'slt')}"
    return ["flite", "-voice", voice, "--setf", stretch, "--setf", pitch, "-t", text, "-o", str(wav)]


def festival_command(text: str, rng: random.Random, wav: Path, scratch: Path) -> list[str]:
    """festival (English) with a random voice and tempo."""
    source = scratch / "text.txt"
    source.write_text(text)
    voice, stretch = rng.choice(FESTIVAL_VOICES), rng.uniform(0.9, 1.2)
    setup = f"(begin (voice_{voice}) (Parameter.set 'Duration_Stretch {stretch:.2f}))"
    return ["text2wave", "-o", str(wav), "-eval", setup, str(source)]


def synthesize(folder: Path, count: int, seed: int = 0, progress: Callable[[str], None] = print) -> int:
    """Write `count` FLAC files into `folder`; three quarters espeak-ng over all languages, the rest English.

    Existing files are kept, so an interrupted call continues.

    Args:
        folder: made if need be.
        count: files in all.
        seed: of the draws.
        progress: is called with a line of text where a synthesizer refuses.

    Returns:
        How many files are there afterwards; fewer than `count` where a synthesizer refused a sentence.

    Raises:
        SynthesizerMissingError: espeak-ng is not installed. flite and festival are used where present.
    """
    if shutil.which("espeak-ng") is None:
        raise SynthesizerMissingError("espeak-ng is not installed; install the packages espeak-ng, flite and festival")
    english = [name for name, program in (("flite", "flite"), ("festival", "text2wave")) if shutil.which(program)]
    folder.mkdir(parents=True, exist_ok=True)
    made = 0
    with tempfile.TemporaryDirectory() as scratch:
        wav = Path(scratch) / "speech.wav"
        for index in range(count):
            rng = random.Random(f"{seed}/{index}")
            engine = rng.choice(english) if english and rng.random() < 0.25 else "espeak"
            language = rng.choice(sorted(WORDS)) if engine == "espeak" else "en-us"
            target = folder / f"{index:05d}_{engine}_{language}.flac"
            if target.exists():
                made += 1
                continue
            text = next(sentences(WORDS[language].split(), rng))
            if engine == "espeak":
                command = espeak_command(text, language, rng, wav)
            elif engine == "flite":
                command = flite_command(text, rng, wav)
            else:
                command = festival_command(text, rng, wav, Path(scratch))
            result = subprocess.run(command, capture_output=True, timeout=60)
            if result.returncode or not wav.exists():
                progress(f"{engine} failed on {target.name}: {result.stderr.decode(errors='replace').strip()}")
                continue
            audio, rate = soundfile.read(wav, dtype="float32")
            wav.unlink()
            if len(audio) < rate or float(np.abs(audio).max()) < 1e-3:
                continue
            with replacing(target) as temporary:
                soundfile.write(temporary, audio / np.abs(audio).max() * 0.5, rate, format="FLAC")
            made += 1
    return made
