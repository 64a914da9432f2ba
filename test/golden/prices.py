"""The golden charges: what real prices make of token counts, by decimals of any precision.

It shares nothing with src/core but the rules, which it states in its own way: dollars per token as Decimal, one
rounding up to the ninth place. It writes prices.json beside it, which test/golden/prices.test.ts compares with what
the gateway charges. To write it anew:

    python3 test/golden/prices.py

PRICES are in US dollars per million tokens, as public price lists had them in July 2026; the off-peak window of
deepseek-chat is a sample.
"""
import json
import random
from decimal import ROUND_CEILING, Decimal, getcontext
from pathlib import Path

getcontext().prec = 80

PRICES = (
    {'gpt-5.5': {'input': '5',
                 'cached_input': '0.5',
                 'output': '30',
                 'tiers': [{'above': 272000, 'input': '10', 'cached_input': '1', 'output': '45'}],
                 'service_tiers': {'flex': {'input': '2.5', 'cached_input': '0.25', 'output': '15'},
                                   'priority': {'input': '10', 'cached_input': '1', 'output': '60'},
                                   'batch': {'input': '2.5', 'output': '15'}},
                 'regions': {'eu': '1.1', 'us': '1.1'}},
     'gpt-5.4': {'input': '2.5',
                 'cached_input': '0.25',
                 'output': '15',
                 'tiers': [{'above': 272000, 'input': '5', 'cached_input': '0.5', 'output': '22.5'}],
                 'service_tiers': {'flex': {'input': '1.25', 'cached_input': '0.13', 'output': '7.5'},
                                   'priority': {'input': '5', 'cached_input': '0.5', 'output': '30'},
                                   'batch': {'input': '1.25', 'output': '7.5'}},
                 'regions': {'eu': '1.1', 'us': '1.1'}},
     'gpt-5.4-mini': {'input': '0.75',
                      'cached_input': '0.075',
                      'output': '4.5',
                      'service_tiers': {'flex': {'input': '0.375', 'cached_input': '0.0375', 'output': '2.25'},
                                        'priority': {'input': '1.5', 'cached_input': '0.15', 'output': '9'},
                                        'batch': {'input': '0.375', 'output': '2.25'}},
                      'regions': {'eu': '1.1', 'us': '1.1'}},
     'gpt-5.4-nano': {'input': '0.2',
                      'cached_input': '0.02',
                      'output': '1.25',
                      'service_tiers': {'flex': {'input': '0.1', 'cached_input': '0.01', 'output': '0.625'},
                                        'batch': {'input': '0.1', 'output': '0.625'}},
                      'regions': {'eu': '1.1', 'us': '1.1'}},
     'gpt-5.2': {'input': '1.75',
                 'cached_input': '0.175',
                 'output': '14',
                 'service_tiers': {'priority': {'input': '3.5', 'cached_input': '0.35', 'output': '28'}}},
     'gpt-5.1': {'input': '1.25',
                 'cached_input': '0.125',
                 'output': '10',
                 'service_tiers': {'priority': {'input': '2.5', 'cached_input': '0.25', 'output': '20'}}},
     'gpt-5-mini': {'input': '0.25',
                    'cached_input': '0.025',
                    'output': '2',
                    'service_tiers': {'flex': {'input': '0.125', 'cached_input': '0.0125', 'output': '1'},
                                      'priority': {'input': '0.45', 'cached_input': '0.045', 'output': '3.6'}}},
     'gpt-4.1': {'input': '2',
                 'cached_input': '0.5',
                 'output': '8',
                 'service_tiers': {'priority': {'input': '3.5', 'cached_input': '0.875', 'output': '14'},
                                   'batch': {'input': '1', 'output': '4'}}},
     'gpt-4.1-mini': {'input': '0.4',
                      'cached_input': '0.1',
                      'output': '1.6',
                      'service_tiers': {'priority': {'input': '0.7', 'cached_input': '0.175', 'output': '2.8'},
                                        'batch': {'input': '0.2', 'output': '0.8'}}},
     'gpt-4.1-nano': {'input': '0.1',
                      'cached_input': '0.025',
                      'output': '0.4',
                      'service_tiers': {'priority': {'input': '0.2', 'cached_input': '0.05', 'output': '0.8'},
                                        'batch': {'input': '0.05', 'output': '0.2'}}},
     'gpt-4o': {'input': '2.5',
                'cached_input': '1.25',
                'output': '10',
                'service_tiers': {'priority': {'input': '4.25', 'cached_input': '2.125', 'output': '17'},
                                  'batch': {'input': '1.25', 'output': '5'}}},
     'gpt-4o-mini': {'input': '0.15',
                     'cached_input': '0.075',
                     'output': '0.6',
                     'service_tiers': {'priority': {'input': '0.25', 'cached_input': '0.125', 'output': '1'},
                                       'batch': {'input': '0.075', 'output': '0.3'}}},
     'o3': {'input': '2',
            'cached_input': '0.5',
            'output': '8',
            'service_tiers': {'flex': {'input': '1', 'cached_input': '0.25', 'output': '4'},
                              'priority': {'input': '3.5', 'cached_input': '0.875', 'output': '14'}}},
     'o4-mini': {'input': '1.1',
                 'cached_input': '0.275',
                 'output': '4.4',
                 'service_tiers': {'flex': {'input': '0.55', 'cached_input': '0.1375', 'output': '2.2'},
                                   'priority': {'input': '2', 'cached_input': '0.5', 'output': '8'}}},
     'gpt-4o-audio-preview': {'input': '2.5', 'output': '10', 'audio_input': '40', 'audio_output': '80'},
     'deepseek-v4-pro': {'input': '0.435', 'cached_input': '0.003625', 'output': '0.87'},
     'deepseek-v4-flash': {'input': '0.14', 'cached_input': '0.0028', 'output': '0.28'},
     'deepseek-chat': {'input': '0.28',
                       'cached_input': '0.028',
                       'output': '0.42',
                       'off_peak': [{'from': '16:30',
                                     'to': '00:30',
                                     'input': '0.14',
                                     'cached_input': '0.014',
                                     'output': '0.21'}]},
     'qwen3.5-plus': {'input': '0.4', 'output': '2.4', 'tiers': [{'above': 256000, 'input': '0.5', 'output': '3'}]},
     'qwen3-max': {'input': '1.2',
                   'output': '6',
                   'tiers': [{'above': 32000, 'input': '2.4', 'output': '12'},
                             {'above': 128000, 'input': '3', 'output': '15'}]},
     'qwen3-coder-plus': {'input': '1',
                          'cached_input': '0.1',
                          'output': '5',
                          'tiers': [{'above': 32000, 'input': '1.8', 'cached_input': '0.18', 'output': '9'},
                                    {'above': 128000, 'input': '3', 'cached_input': '0.3', 'output': '15'},
                                    {'above': 256000, 'input': '6', 'cached_input': '0.6', 'output': '60'}]},
     'qwen3-coder-flash': {'input': '0.3',
                           'cached_input': '0.08',
                           'output': '1.5',
                           'tiers': [{'above': 32000, 'input': '0.5', 'cached_input': '0.12', 'output': '2.5'},
                                     {'above': 128000, 'input': '0.8', 'cached_input': '0.2', 'output': '4'},
                                     {'above': 256000, 'input': '1.6', 'cached_input': '0.4', 'output': '9.6'}]},
     'qwen-plus-latest': {'input': '0.4',
                          'output': '1.2',
                          'reasoning': '4',
                          'tiers': [{'above': 256000, 'input': '1.2', 'output': '3.6', 'reasoning': '12'}]},
     'qwen-flash': {'input': '0.05', 'output': '0.4', 'tiers': [{'above': 256000, 'input': '0.25', 'output': '2'}]},
     'qwen-turbo': {'input': '0.05', 'output': '0.2', 'reasoning': '0.5'},
     'qwen-max': {'input': '1.6', 'output': '6.4'},
     'doubao-seed-2-0-pro-260215': {'input': '0.46',
                                    'output': '2.3',
                                    'tiers': [{'above': 32000, 'input': '0.7', 'output': '3.5'},
                                              {'above': 128000, 'input': '1.4', 'output': '7'}]},
     'doubao-seed-2-0-lite-260215': {'input': '0.087',
                                     'output': '0.52',
                                     'tiers': [{'above': 32000, 'input': '0.13', 'output': '0.78'},
                                               {'above': 128000, 'input': '0.26', 'output': '1.6'}]},
     'doubao-seed-2-0-mini-260215': {'input': '0.029',
                                     'output': '0.29',
                                     'tiers': [{'above': 32000, 'input': '0.058', 'output': '0.58'},
                                               {'above': 128000, 'input': '0.12', 'output': '1.2'}]},
     'grok-4-0709': {'input': '3', 'output': '15', 'tiers': [{'from': 128000, 'input': '6', 'output': '30'}]},
     'grok-4.3': {'input': '1.25',
                  'cached_input': '0.2',
                  'output': '2.5',
                  'tiers': [{'from': 200000, 'input': '2.5', 'cached_input': '0.4', 'output': '5'}]},
     'grok-4.5': {'input': '2',
                  'cached_input': '0.5',
                  'output': '6',
                  'tiers': [{'from': 200000, 'input': '4', 'cached_input': '1', 'output': '12'}]},
     'grok-code-fast-1': {'input': '0.2', 'cached_input': '0.02', 'output': '1.5'},
     'grok-3-mini': {'input': '0.3', 'cached_input': '0.075', 'output': '0.5'},
     'claude-opus-4-6': {'input': '5',
                         'cached_input': '0.5',
                         'cache_write_5m': '6.25',
                         'cache_write_1h': '10',
                         'output': '25',
                         'regions': {'us': '1.1'}},
     'claude-sonnet-4-5-20250929': {'input': '3',
                                    'cached_input': '0.3',
                                    'cache_write_5m': '3.75',
                                    'cache_write_1h': '6',
                                    'output': '15',
                                    'tiers': [{'above': 200000,
                                               'input': '6',
                                               'cached_input': '0.6',
                                               'cache_write_5m': '7.5',
                                               'cache_write_1h': '12',
                                               'output': '22.5'}]},
     'claude-haiku-4-5-20251001': {'input': '1',
                                   'cached_input': '0.1',
                                   'cache_write_5m': '1.25',
                                   'cache_write_1h': '2',
                                   'output': '5'},
     'claude-opus-5': {'input': '5',
                       'cached_input': '0.5',
                       'cache_write_5m': '6.25',
                       'cache_write_1h': '10',
                       'output': '25',
                       'regions': {'us': '1.1'}},
     'gemini-2.5-pro': {'input': '1.25',
                        'cached_input': '0.125',
                        'output': '10',
                        'tiers': [{'above': 200000,
                                   'input': '2.5',
                                   'cached_input': '0.25',
                                   'output': '15',
                                   'service_tiers': {'priority': {'input': '2.5', 'output': '15'}}}],
                        'service_tiers': {'priority': {'input': '1.25', 'output': '10'}}},
     'gemini-2.5-flash': {'input': '0.3',
                          'cached_input': '0.03',
                          'output': '2.5',
                          'reasoning': '2.5',
                          'audio_input': '1'},
     'gemini-3-pro-preview': {'input': '2',
                              'cached_input': '0.2',
                              'output': '12',
                              'tiers': [{'above': 200000,
                                         'input': '4',
                                         'cached_input': '0.4',
                                         'output': '18',
                                         'service_tiers': {'priority': {'input': '7.2',
                                                                        'cached_input': '0.72',
                                                                        'output': '32.4'}}}],
                              'service_tiers': {'batch': {'input': '1', 'output': '6'},
                                                'priority': {'input': '3.6',
                                                             'cached_input': '0.36',
                                                             'output': '21.6'}}}}
)

UNITS = ["input", "cached_input", "cache_write_5m", "cache_write_1h", "output", "reasoning", "audio_input", "audio_output"]
INSTEAD = {
    "cached_input": "input",
    "cache_write_5m": "input",
    "cache_write_1h": "cache_write_5m",
    "reasoning": "output",
    "audio_input": "input",
    "audio_output": "output",
}
PROMPT = ["input", "cached_input", "cache_write_5m", "cache_write_1h", "audio_input"]
NOON = 1784894400000  # 2026-07-24 12:00 UTC, outside of every window
EVENING = NOON + 5 * 3600 * 1000


def border(tier):
    return tier["from"] if "from" in tier else tier["above"] + 1


def minutes(clock):
    hour, minute = clock.split(":")
    return int(hour) * 60 + int(minute)


def is_off_peak(window, ms):
    minute = ms // 60000 % 1440
    begin, end = minutes(window["from"]), minutes(window["to"])
    return begin <= minute < end if begin < end else minute >= begin or minute < end


def layers(prices, prompt, case):
    """The maps of prices in which a unit is looked up, the one that comes first first."""
    reached = sorted((t for t in prices.get("tiers", []) if prompt >= border(t)), key=border, reverse=True)
    service = case.get("service_tier")
    for tier in reached:
        yield tier.get("service_tiers", {}).get(service, {})
        yield tier
    yield prices.get("service_tiers", {}).get(service, {})
    for window in prices.get("off_peak", []):
        if is_off_peak(window, case["started_at_ms"]):
            yield window
    yield prices


def price_of(unit, maps):
    while True:
        for prices in maps:
            if unit in prices:
                return Decimal(prices[unit])
        unit = INSTEAD[unit]


def charge(prices, case):
    counts = case["counts"]
    maps = list(layers(prices, sum(counts.get(unit, 0) for unit in PROMPT), case))
    dollars = Decimal(0)
    for unit, count in counts.items():
        # A published price is whole at the ninth place, with its markup in it.
        published = price_of(unit, maps) * (1 + Decimal(case["markup_percent"]) / 100)
        dollars += count * published.quantize(Decimal("1e-9"), ROUND_CEILING) / 1000000
    dollars *= Decimal(prices.get("regions", {}).get(case.get("region"), 1))
    dollars *= 1 - Decimal(case["discount_percent"]) / 100
    if "exchange" in case:
        dollars *= Decimal(case["exchange"])
    return str(int((dollars * 10**9).to_integral_value(ROUND_CEILING)))


def split(rng, total, units):
    """A prompt or an answer of so many tokens in all, cut into kinds."""
    cuts = sorted(rng.randint(0, total) for _ in units[1:])
    parts = [end - begin for begin, end in zip([0, *cuts], [*cuts, total])]
    return {unit: part for unit, part in zip(units, parts) if part > 0}


def cases(name, prices):
    rng = random.Random(name)
    kinds_in = [unit for unit in PROMPT if unit in prices or unit == "cached_input"]
    kinds_out = [unit for unit in ("output", "reasoning", "audio_output") if unit in prices or unit == "reasoning"]
    borders = [border(tier) for tier in prices.get("tiers", [])] or [rng.randint(100, 100000)]
    services = list(prices.get("service_tiers", {})) or ["default"]
    regions = list(prices.get("regions", {})) or ["eu"]
    last = rng.choice(borders)
    plans = [
        {"prompt": rng.randint(1, 5000)},
        {"prompt": last - 1, "markup_percent": rng.choice(["0", "7.5", "12.3456"])},
        {"prompt": last, "discount_percent": rng.choice(["0", "12.5", "33.3333"])},
        {"prompt": rng.choice([50, last, 10 * last]), "service_tier": rng.choice(services), "region": rng.choice(regions)},
        {"prompt": rng.randint(1, 10**6), "started_at_ms": EVENING, "exchange": "7.1234", "discount_percent": "1.0001"},
    ]
    for plan in plans:
        prompt = plan.pop("prompt")
        case = {"model": name, "started_at_ms": NOON, "markup_percent": "0", "discount_percent": "0", **plan}
        case["counts"] = {**split(rng, prompt, kinds_in), **split(rng, rng.randint(1, 30000), kinds_out)}
        case["nanos"] = charge(prices, case)
        yield case


def main():
    rows = [case for name, prices in PRICES.items() for case in cases(name, prices)]
    lines = ",\n".join("    " + json.dumps(case) for case in rows)
    prices = ",\n".join(f"    {json.dumps(name)}: {json.dumps(row)}" for name, row in PRICES.items())
    header = "Written by test/golden/prices.py: run python3 test/golden/prices.py to write it anew."
    text = f'{{\n  "about": {json.dumps(header)},\n  "prices": {{\n{prices}\n  }},\n  "cases": [\n{lines}\n  ]\n}}\n'
    Path(__file__).with_name("prices.json").write_text(text)
    print(len(rows), "charges")


main()
