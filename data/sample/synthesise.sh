#!/usr/bin/env bash
# Says every digit in every voice and take, in noise: recordings/<voice>_<digit>_<take>.opus.
#
# Run once with espeak-ng 1.51, sox 14.4 and opus-tools 0.2 (Debian 12); what it wrote is committed, so that
# nobody needs them. Nothing is drawn at random: a take's number says its speed, pitch, intonation and noise, and
# the noise is always the next piece of one long recording.
set -euo pipefail

folder=${1:-"$(dirname "$0")/recordings"}
words=(zero one two three four five six seven eight nine)
voices=(
  en-us+m1 en-us+m3 en-us+f1 en-us+f4 en-us+klatt
  en-gb+m2 en-gb+m5 en-gb+f2 en-gb+f5 en-gb+max
  en-gb-x-rp+m4 en-gb-x-rp+m7 en-gb-x-rp+f3 en-gb-x-rp+steph en-gb-x-rp+edward
  en-us-nyc+m6 en-us-nyc+linda en-us-nyc+david
  en-029+m8 en-gb-scotland+belinda en-gb-x-gbclan+klatt4 en-gb-x-gbcwmd+croak en-gb-scotland+quincy
)
speeds=(110 120 130 140 150 160 175 190) # words a minute
pitches=(30 62 44 70 38 56 50 64)
endings=(. '?' '!' ,)
volumes=(0.06 0.12 0.18 0.24 0.06 0.12 0.18 0.24) # of the noise; the voice peaks at 0.7
noise_seconds=60

work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
sox -R -r 16000 -n -b 16 "$work/noise.wav" synth $noise_seconds pinknoise norm -3
count=0

say() { # say <voice> <digit> <take>
  espeak-ng -v "$1" -s "${speeds[$3]}" -p "${pitches[$3]}" --stdout "${words[$2]}${endings[$(($3 % 4))]}" |
    sox -V1 -D -t wav - -r 16000 -b 16 "$work/voice.wav" \
      silence 1 0.01 1% reverse silence 1 0.01 1% reverse norm -3
  sox -D "$work/noise.wav" "$work/piece.wav" \
    trim "$((count * 7 % (noise_seconds - 1))).$((count % 10))" "$(soxi -D "$work/voice.wav")"
  sox -D -m -v 1 "$work/voice.wav" -v "${volumes[$3]}" "$work/piece.wav" "$work/mix.wav"
  opusenc --quiet --speech --bitrate 12 --framesize 60 --serial 1 --discard-comments --padding 0 \
    "$work/mix.wav" "$folder/${1/+/-}_$2_$3.opus"
  count=$((count + 1))
}

mkdir -p "$folder"
for voice in "${voices[@]}"; do
  for digit in "${!words[@]}"; do
    for take in "${!speeds[@]}"; do
      say "$voice" "$digit" "$take"
    done
  done
done
