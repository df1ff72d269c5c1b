"""Models larger than RAM: the run with a mapped file as the last way out."""

import pytest
from test_tune import HEADERS, model, rig, tuned

import ikexplore as ikx
from ikexplore.tune import NoFit

SMALL = {"n_ubatch": 512, "n_threads": 16, "cache_type_k": "f16", "cache_type_v": "f16"}
NEED_MIB = 300  #: of cache and compute buffers at least, with 2048 tokens
RAM = 1500  #: less than the weights, more than all else


def refused(*args, **options):
    with pytest.raises(NoFit) as no:
        tuned(*args, **{"ctx": 2048, "time_limit": 5, **options})
    return no.value


def from_disk(no):
    return [way for way in no.ways if way.from_disk_mib]


def test_weights_that_ram_lacks_stay_on_disk():
    m, machine = model(HEADERS[0]), rig(ram=RAM)
    no = refused(m, machine, limits=SMALL)
    (way,) = from_disk(no)
    assert way is no.ways[-1] and way.text in str(no) and "slow" in way.text
    assert way.settings.use_mmap and not way.settings.rtr and not ikx.plan(m, way.settings, machine).fits
    size = sum(t.nbytes for t in m.tensors.values()) / 2**20
    assert size - RAM < way.from_disk_mib < size - RAM + 2 * NEED_MIB
    roomy = tuned(m, rig(ram=100_000), ctx=2048, limits={**SMALL, "use_mmap": True, "rtr": False})[0]
    assert way.rates.tg[0] < roomy.tg / 1.2 and way.rates.pp[0] < roomy.pp  # the disk counts


def test_what_a_gpu_takes_need_not_be_read():
    no = refused(model(HEADERS[0]), rig(1200, ram=RAM - 700), limits=SMALL)
    (way,) = from_disk(no)
    (alone,) = from_disk(refused(model(HEADERS[0]), rig(ram=RAM - 700), limits=SMALL))
    assert 0 < way.from_disk_mib < alone.from_disk_mib - 300
    assert way.settings.overrides or way.settings.n_gpu_layers


@pytest.mark.parametrize("limits", [{"use_mmap": False}, {"rtr": True}])
def test_limits_may_forbid_it(limits):
    assert from_disk(refused(model(HEADERS[0]), rig(ram=RAM), limits={**SMALL, **limits})) == []


def test_a_cache_cannot_stay_on_disk():
    no = refused(model(HEADERS[0]), rig(ram=RAM), ctx=65536 * 8, limits=SMALL)
    assert no.short["CPU"] > 0 and from_disk(no) == []
