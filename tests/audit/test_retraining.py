"""Removal with retraining: one entry a training, against the same by hand, and masks alone beside it."""

import pytest
import torch
from torch import nn

from fragility import attribution, audit, training
from fragility.audit.criteria import retraining
from fragility.removal import degrade, top_mask
from tests import networks


def fit(images, labels, seed):
    """A linear network, trained for a moment."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Flatten(), nn.Linear(192, 5))
    return training.train(network, images, labels, epochs=1, batch_size=8,
                          generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def data():
    images = (networks.images(40, dtype=torch.float32) * 255).to(torch.uint8)
    return images, torch.arange(40) % 5


def run(data, **options):
    net = networks.build(networks.plain, dtype=torch.float32)
    return audit.run(net, networks.images(6, dtype=torch.float32), train=[data], progress=False,
                     criteria=["retraining"], **{"methods": "gradient", "fit": fit, **options})


def test_the_accuracies_are_those_of_retraining_by_hand(data):
    report = run(data)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    images, labels = data[0][order], data[1][order]
    net, x = networks.build(networks.plain, dtype=torch.float32), images.float() / 255
    scores = attribution.pixel_map(attribution.gradient(net, x))
    left = (degrade(x, scores, 0.5, fill="mean") * 255).round().to(torch.uint8)
    masks = (top_mask(scores, 0.5)[:, None].expand_as(x) * 255).to(torch.uint8)
    for seen, expected in (("score", left), ("masks", masks)):
        result = report.results["gradient", "retraining"]
        values = result.score if seen == "score" else result.details["masks"]
        by_hand = [training.accuracy(fit(expected[:32], labels[:32], seed), expected[32:], labels[32:])
                   for seed in range(retraining.TRAININGS)]
        assert values.tolist() == pytest.approx(by_hand)


def test_a_row_is_a_training_and_controls_do_not_judge_themselves(data):
    report = run(data)
    assert [row["image"] for row in report.rows() if row["method"] == "gradient"] == [
        "training 0", "training 1", "training 2"]
    assert report.verdict("random", "retraining").reason == "It is the control."


def test_masks_that_tell_the_class_are_an_objection():
    tells = {"masks": torch.tensor([0.9, 0.9]), "score": torch.tensor([0.5, 0.6])}
    assert "masks alone are right in 90%" in retraining.objection(tells)
    assert retraining.objection({**tells, "masks": torch.tensor([0.2, 0.3])}) is None
    assert retraining.objection({"score": tells["score"]}) is None


def test_without_a_fit_copies_of_the_model_are_trained_and_it_stays_as_it_is(data):
    net = networks.build(networks.plain, dtype=torch.float32)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    one = retraining.training_set(*data, net, 0)
    trained = one.fit(*data, 0)
    assert not trained.training and type(trained) is type(net) and trained is not net
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert not torch.equal(next(trained.parameters()), next(net.parameters()))


def test_what_cannot_be_retrained_is_refused(data):
    with pytest.raises(ValueError, match="Retraining needs labels"):
        retraining.training_set(data[0], None, fit, 0)
    with pytest.raises(ValueError, match="cannot be trained anew; pass fit="):
        retraining.training_set(*data, lambda x: x, 0)
    with pytest.raises(ValueError, match="retraining needs labelled images to train on"):
        audit.run(networks.build(networks.plain), networks.images(4), criteria=["retraining"], progress=False)


def test_a_map_of_the_predicted_class_does_not_write_the_label_into_the_image(data):
    """Ten of the forty labels at most are those that the network predicts: a map of the label would be another one."""
    seen = []

    def spy(model, x, target):
        seen.append(target)
        return attribution.gradient(model, x, target)
    net = networks.build(networks.plain, dtype=torch.float32)
    run(data, methods={"spy": spy})
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    x = data[0][order].float() / 255
    explained = torch.cat([target for target in seen if len(target) == 8])      # the audited images are six
    assert torch.equal(explained, net(x).argmax(1)) and int((explained == data[1][order]).sum()) <= 10


def test_training_data_that_do_not_fit_are_refused_before_anything_long(data):
    with pytest.raises(ValueError, match="labels span 0 to 9, but the model has classes 0 to 4"):
        run((data[0], torch.arange(40) % 10), fit=None)
    assert run(data).notices[-1].startswith("The time of the trainings is not part of the estimate")
