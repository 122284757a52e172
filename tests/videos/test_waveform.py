"""The drawing of a recording: bars within the picture, whatever the peaks are."""

import re

import pytest

from app.videos import waveform


def heights(path):
    return [(float(y), float(high)) for y, high in re.findall(r"M[\d.]+ ([\d.]+)v([\d.]+)", path)]


def test_the_loudest_bar_is_as_high_as_the_picture_and_silence_is_a_dot():
    drawn = heights(waveform.bars([0.0] * 50 + [0.5] * 50, 10))
    assert [high for _, high in drawn] == [2.0] * 5 + [100.0] * 5
    assert all(y >= 0 and y + high <= waveform.HEIGHT for y, high in drawn)


@pytest.mark.parametrize("peaks", [None, []])
def test_without_peaks_there_is_no_path(peaks):
    assert waveform.bars(peaks, 10) == ""


def test_there_are_no_more_bars_than_peaks_and_no_peak_is_lost():
    assert len(heights(waveform.bars([0.1, 0.9, 0.3], 10))) == 3
    peaks = [0.1] * 997
    peaks[500] = 1.0
    assert max(high for _, high in heights(waveform.bars(peaks, 60))) == 100
    assert waveform.width(peaks, 60) == 180
