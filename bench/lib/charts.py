"""Line charts as SVG, without a library: a few series of points, axes with round numbers, a legend."""

import math

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 400, 70, 190, 36, 46
COLOURS = ["#333333", "#c0392b", "#e08e0b", "#1f77b4", "#17a2b8", "#2e8b57", "#8e44ad", "#7f7f7f"]


def ticks(low, high, logarithmic):
    if logarithmic:
        return [
            10.0**power for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        ]
    step = 10 ** math.floor(math.log10(max(high - low, 1e-9)))
    if (high - low) / step < 3:
        step /= 2
    return [low + step * i for i in range(int((high - low) / step) + 2)]


def text_of(value):
    return f"{value:g}" if value < 10000 else f"{value / 1000:g}k"


def line_chart(title, x_name, y_name, series, log_x=False, log_y=False):
    """series: {name: [(x, y), ...]}. Returns the SVG's text."""
    points = [point for line in series.values() for point in line]
    if not points:
        return ""
    scales = []
    for axis, logarithmic in ((0, log_x), (1, log_y)):
        values = [point[axis] for point in points if not logarithmic or point[axis] > 0]
        low, high = min(values), max(values)
        if not logarithmic:
            low = 0
        marks = ticks(low, high if high > low else low + 1, logarithmic)
        scales.append((marks, logarithmic))

    def place(value, axis):
        marks, logarithmic = scales[axis]
        low, high = marks[0], marks[-1]
        if logarithmic:
            share = (math.log10(max(value, low)) - math.log10(low)) / (math.log10(high) - math.log10(low))
        else:
            share = (value - low) / (high - low)
        if axis == 0:
            return LEFT + share * (WIDTH - LEFT - RIGHT)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" '
        f'font-size="11"><rect width="100%" height="100%" fill="white"/>',
        f'<text x="{LEFT}" y="20" font-size="14">{title}</text>',
        f'<text x="{LEFT}" y="{HEIGHT - 8}">{x_name}</text>',
        f'<text transform="translate(14 {HEIGHT - BOTTOM}) rotate(-90)">{y_name}</text>',
    ]
    for mark in scales[0][0]:
        x = place(mark, 0)
        out.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="#e5e5e5"/>')
        out.append(
            f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 15}" text-anchor="middle">{text_of(mark)}</text>'
        )
    for mark in scales[1][0]:
        y = place(mark, 1)
        out.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e5e5e5"/>')
        out.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{text_of(mark)}</text>')
    for number, (name, line) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(f"{place(x, 0):.1f},{place(y, 1):.1f}" for x, y in line)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
        y = TOP + 12 + 18 * number
        out.append(
            f'<line x1="{WIDTH - RIGHT + 12}" x2="{WIDTH - RIGHT + 34}" y1="{y}" y2="{y}" stroke="{colour}" '
            'stroke-width="2.5"/>'
        )
        out.append(f'<text x="{WIDTH - RIGHT + 40}" y="{y + 4}">{name}</text>')
    out.append("</svg>\n")
    return "\n".join(out)
