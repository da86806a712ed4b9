"""What belongs together by name: as the corpora of the field name their files."""

import pytest

from hifitse.corpus.grouping import is_noise, room_of, session_of


@pytest.mark.parametrize(
    ("name", "room"),
    [
        # OpenSLR 28, simulated and real.
        ("simulated_rirs/smallroom/Room001/Room001-00001.wav", "simulated_rirs/smallroom/Room001/Room001"),
        ("real/RVB2014_type1_rir_largeroom1_near_angla.wav", "real/RVB2014_type1_rir_largeroom1"),
        ("real/air_type1_air_binaural_aula_carolina_1_1_90_3.wav", "real/air_type1_air_binaural_aula_carolina_1"),
        # A folder for each position, as in the ACE corpus.
        ("Single/Lecture_Room_1/2/Single_508_2_RIR.wav", "Single/Lecture_Room_1"),
        ("hall/mic_2/a.wav", "hall"),
        ("hall/front_row.wav", "hall"),
        ("hall/7.wav", "hall"),
        # Directly in the root.
        ("hall_near.wav", "hall"),
        ("hall_pos3_ch2.wav", "hall"),
        ("hall.mic 1.flac", "hall"),
        ("living_room.flac", "living_room.flac"),
        ("rir_00001.wav", "rir_00001.wav"),
        ("7.wav", "7.wav"),
        ("ch01.wav", "."),
        # An HDF5 file without names: nothing tells.
        ("slr28/000123", "slr28/000123"),
    ],
)
def test_rooms(name: str, room: str) -> None:
    assert room_of(name) == room


@pytest.mark.parametrize(
    ("name", "session"),
    [
        ("DKITCHEN/ch01.wav", "DKITCHEN/"),
        ("DKITCHEN/ch16.wav", "DKITCHEN/"),
        ("BGD_150203_010_CAF.CH1.wav", "BGD_150203_010_CAF"),
        ("city/tram_mic2.flac", "city/tram"),
        ("DKITCHEN_16k/ch03_07.ogg", "DKITCHEN_16k/"),
        # Numbers say nothing about channels.
        ("noise/free-sound/noise-free-sound-0000.wav", "noise/free-sound/noise-free-sound-0000.wav"),
        ("fold1/100032-3-0-0.wav", "fold1/100032-3-0-0.wav"),
        ("000012", "000012"),
    ],
)
def test_sessions(name: str, session: str) -> None:
    assert session_of(name) == session


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("RIRS_NOISES/pointsource_noises/noise-free-sound-0001.wav", True),
        ("pointsource_noises/rain.wav", True),
        ("real_rirs_isotropic_noises/RWCP_type2_noise_cirline_ofc.wav", True),
        ("real_rirs_isotropic_noises/RWCP_type2_rir_cirline_ofc_imp_rev.wav", False),
        ("RIRS_NOISES/simulated_rirs/smallroom/Room001/Room001-00001.wav", False),
        ("noiseless_hall.wav", False),
    ],
)
def test_noises_among_impulse_responses(name: str, expected: bool) -> None:
    assert is_noise(name) == expected
