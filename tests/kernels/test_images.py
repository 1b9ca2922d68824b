"""A user's own images: what is read of folders and files, and what of them is refused, with the sentence."""

import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from fragility import data

RED, GREY = (255, 0, 0), 90


def save(file, mode="RGB", size=(10, 8), colour=RED, **options):
    """One picture of a colour, (width, height) pixels."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(file, **options)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def flat(folder, count=3, **options):
    for place in range(count):
        save(folder / f"{place:02d}.png", **options)
    return folder


# What is read

def test_a_tree_has_labels_in_the_order_of_its_subfolders(tmp_path):
    for name, colour in (("tulip", RED), ("Rose", (0, 255, 0)), ("aster", (0, 0, 255))):
        save(tmp_path / name / "b.png", colour=colour)
        save(tmp_path / name / "a.PNG", colour=colour)
    (tmp_path / "lily").mkdir()         # a class of which there is no picture keeps its number
    (tmp_path / ".thumbnails").mkdir()
    save(tmp_path / ".thumbnails" / "a.png")
    (tmp_path / "aster" / "._a.png").write_bytes(b"of a Mac")
    (tmp_path / "notes.txt").write_text("mine")
    found = data.images(tmp_path)
    assert found.images.shape == (6, 3, 8, 10) and found.images.dtype == torch.uint8 and found.images.is_contiguous()
    assert found.class_names == ["Rose", "aster", "lily", "tulip"] and found.left_out == []
    assert found.labels.tolist() == [0, 0, 1, 1, 3, 3] and found.labels.dtype == torch.int64
    assert found.images[::2, :, 0, 0].tolist() == [[0, 255, 0], [0, 0, 255], [255, 0, 0]]


def test_a_flat_folder_has_no_labels(tmp_path):
    values = noise(3, 8, 10, 3)
    for place, image in enumerate(values):
        Image.fromarray(image).save(tmp_path / f"{place}.png")
    found = data.images(str(tmp_path))
    assert found.labels is None and found.class_names is None
    assert torch.equal(found.images, torch.from_numpy(values).permute(0, 3, 1, 2))


@pytest.mark.parametrize("shape, expected", [((4, 6, 5), (4, 1, 6, 5)), ((4, 6, 5, 1), (4, 1, 6, 5)),
                                             ((4, 6, 5, 3), (4, 3, 6, 5)), ((4, 3, 6, 5), (4, 3, 6, 5)),
                                             ((4, 1, 6, 5), (4, 1, 6, 5))])
def test_a_file_holds_images_in_either_order_of_axes(tmp_path, shape, expected):
    values = noise(*shape)
    np.savez(tmp_path / "x.npz", images=values)
    found = data.images(tmp_path / "x.npz")
    last = torch.from_numpy(values).reshape(4, 6, 5, -1).permute(0, 3, 1, 2)
    assert torch.equal(found.images, last if shape[1] == 6 else torch.from_numpy(values))
    assert found.images.shape == expected and found[1:] == (None, None, [])


@pytest.mark.parametrize("labels", [np.array([2, 0, 1], np.uint8), np.array([2, 0, 1], ">i4"), np.array([2.0, 0, 1])])
@pytest.mark.parametrize("names", [np.array(["cat", "dog", "emu"]), np.array([b"cat", b"dog", b"emu"])])
def test_a_file_may_hold_labels_and_names(tmp_path, labels, names):
    np.savez_compressed(tmp_path / "x.npz", images=noise(3, 4, 4), labels=labels, class_names=names)
    found = data.images(tmp_path / "x.npz")
    assert found.labels.tolist() == [2, 0, 1] and found.labels.dtype == torch.int64
    assert found.class_names == ["cat", "dog", "emu"]


def test_grey_pictures_keep_one_channel_where_all_are_grey(tmp_path):
    flat(tmp_path, mode="L", colour=GREY)
    save(tmp_path / "black.png", "1", colour=0)
    found = data.images(tmp_path)
    assert found.images.shape == (4, 1, 8, 10) and found.images[:, 0, 0, 0].tolist() == [GREY] * 3 + [0]
    save(tmp_path / "red.png")
    assert data.images(tmp_path).images[:, :, 0, 0].tolist() == [[GREY] * 3] * 3 + [[0] * 3, [255, 0, 0]]


@pytest.mark.parametrize("mode, colour, expected", [
    ("RGBA", (255, 0, 0, 0), [255, 255, 255]), ("RGBA", (255, 0, 0, 255), [255, 0, 0]),
    ("RGBA", (0, 0, 0, 51), [204, 204, 204]), ("LA", (0, 0), [255]), ("LA", (90, 255), [90])])
def test_what_is_transparent_is_white(tmp_path, mode, colour, expected):
    save(tmp_path / "a.png", mode, colour=colour)
    assert data.images(tmp_path).images[0, :, 0, 0].tolist() == expected


def test_palettes_keep_their_colours_and_lose_what_is_transparent(tmp_path):
    for name, options in (("a.png", {}), ("b.png", {"transparency": 0})):
        picture = Image.new("P", (4, 4), 0)
        picture.putpalette([10, 20, 30] + [0] * 765)
        picture.save(tmp_path / name, **options)
    assert data.images(tmp_path).images[:, :, 0, 0].tolist() == [[10, 20, 30], [255, 255, 255]]


def test_pictures_stand_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6        # to be turned by a quarter
    save(tmp_path / "a.jpg", size=(10, 8), exif=exif)
    assert data.images(tmp_path).images.shape == (1, 3, 10, 8)


@pytest.mark.parametrize("size, shape", [(6, (6, 6)), ((6, 4), (6, 4)), ([5, 9], (5, 9)), (20, (20, 20)),
                                         (np.int64(3), (3, 3))])
def test_size_scales_and_cuts_pictures_and_arrays_alike(tmp_path, size, shape):
    values = noise(2, 8, 12, 3)
    for place, image in enumerate(values):
        Image.fromarray(image).save(tmp_path / f"{place}.png")
    np.savez(tmp_path / "x.npz", images=values)
    of_folder, of_file = (data.images(source, size=size).images for source in (tmp_path, tmp_path / "x.npz"))
    assert of_folder.shape == (2, 3, *shape) and torch.equal(of_folder, of_file)


def test_size_keeps_the_centre_and_is_close_to_pillow(tmp_path):
    smooth = Image.fromarray(noise(6, 9, 3)).resize((90, 60), Image.Resampling.BICUBIC)
    smooth.save(tmp_path / "a.png")
    whole = torch.from_numpy(np.array(smooth)).permute(2, 0, 1)
    found = data.images(tmp_path, size=20).images[0].int()
    expected = np.array(smooth.resize((30, 20), Image.Resampling.BILINEAR).crop((5, 0, 25, 20)))
    assert (found - torch.from_numpy(expected).permute(2, 0, 1).int()).abs().max() <= 1
    assert torch.equal(data.images(tmp_path, size=60).images[0], whole[:, :, 15:75])        # nothing to scale


def test_pictures_of_several_sizes_with_size(tmp_path):
    save(tmp_path / "a.png", size=(10, 8))
    save(tmp_path / "b.png", size=(30, 50))
    found = data.images(tmp_path, size=8).images
    assert found.shape == (2, 3, 8, 8) and (found[:, 0] == 255).all() and (found[:, 1:] == 0).all()


def test_a_few_unreadable_pictures_are_left_out_and_named(tmp_path):
    for label, name in enumerate(("rose", "tulip")):
        for place in range(10 if label else 30):
            save(tmp_path / name / f"{place:02d}.png", colour=(label, place, 0))
    (tmp_path / "rose" / "07.png").write_bytes(b"no picture")
    whole = (tmp_path / "tulip" / "00.png").read_bytes()
    (tmp_path / "tulip" / "00.png").write_bytes(whole[:len(whole) // 2])
    found = data.images(tmp_path)
    assert found.left_out == ["rose/07.png", "tulip/00.png"] and found.class_names == ["rose", "tulip"]
    assert found.labels.tolist() == [0] * 29 + [1] * 9 and len(found.images) == 38
    assert torch.equal(found.images[:, 0, 0, 0].long(), found.labels)       # each keeps its own label
    assert 7 not in found.images[:29, 1, 0, 0]


def test_links_that_stay_within_the_folder_are_followed(tmp_path):
    save(tmp_path / "set" / "rose" / "1.png")
    (tmp_path / "set" / "rose" / "2.png").symlink_to("1.png")
    (tmp_path / "link").symlink_to(tmp_path / "set")        # the folder itself may be one
    assert len(data.images(tmp_path / "link").images) == 2


# What is refused

def broken(folder, place, count=3):
    flat(folder, count)
    (folder / f"{place:02d}.png").write_bytes(b"no picture")


def bomb(folder):
    save(folder / "bomb.png", "1", (10_000, 9_000), 0)      # 90 million pixels in 11 kB: Pillow only warns
    save(folder / "fine.png")


def large_bomb(folder):
    save(folder / "bomb.png", "1", (20_000, 9_000), 0)


def link(to):
    def make(folder):
        save(folder.parent / "elsewhere" / "secret.png")
        save(folder / "rose" / "1.png")
        (folder / "rose" / "2.png" if to == "secret.png" else folder / "tulip").symlink_to(
            folder.parent / "elsewhere" / to)
    return make


def circle(folder):
    flat(folder)
    (folder / "99.png").symlink_to("99.png")


def pipe(folder):
    flat(folder)
    os.mkfifo(folder / "99.png")


def both(folder):
    save(folder / "a.png")
    save(folder / "rose" / "b.png")


def sizes(folder):
    save(folder / "a.png", size=(10, 8))
    save(folder / "b.png", size=(30, 50))


DAMAGED_FOLDERS = {
    "empty": (lambda folder: folder.mkdir(), r"holds no images; put pictures into it, or into a subfolder"),
    "no pictures": (lambda folder: (folder / "rose").mkdir(parents=True) or (folder / "rose" / "a.txt").write_text("a"),
                    r"holds no images; put pictures.*\.jpeg"),
    "deeper": (lambda folder: save(folder / "train" / "rose" / "1.png"), r"train/rose/1\.png lies deeper; name the "),
    "beside and inside": (both, r"both beside and inside of subfolders, a\.png and rose/b\.png; sort all"),
    "several sizes": (sizes, r"differ in size: a\.png has 8 by 10 and b\.png 50 by 30 pixels; pass size="),
    "unreadable": (lambda folder: broken(folder, 1), r", 3 in all, more than 5 % .* 01\.png \(.*\); replace or"),
    "all unreadable": (lambda folder: broken(folder, 0, 1), r", 1 in all, more than 5 % cannot be read: 00\.png"),
    "bomb": (bomb, r"bomb\.png has more than 89,478,485 pixels, too many to be decoded safely; shrink or remove"),
    "large bomb": (large_bomb, r"bomb\.png has more than 89,478,485 pixels"),
    "link to a picture": (link("secret.png"), r"link .*rose/2\.png leads out of the folder .*; put what it points to"),
    "link to a folder": (link(""), r"link .*tulip leads out of the folder"),
    "circle of links": (circle, r", 4 in all, more than 5 % cannot be read: 99\.png"),
    "pipe": (pipe, r"more than 5 % .* 99\.png \(no file\)"),
    "16 bits": (lambda folder: save(folder / "a.png", "I;16", colour=700), r"more than 8 bits a channel \(mode I;16\)"),
    "floating point": (lambda folder: save(folder / "a.tiff", "F", colour=0.5), r"\(mode F\).*; save it with 8 bits"),
    "unknown kind": (lambda folder: flat(folder) and (folder / "a.heic").write_bytes(b"ftypheic"),
                     r", 4 in all, more than 5 % cannot be read: a\.heic"),
}


@pytest.mark.parametrize("kind", DAMAGED_FOLDERS)
def test_a_damaged_folder_is_refused(tmp_path, kind):
    make, said = DAMAGED_FOLDERS[kind]
    make(tmp_path / "mine")
    with pytest.raises(ValueError, match=said) as refused:
        data.images(tmp_path / "mine")
    assert str(tmp_path) in str(refused.value) and str(refused.value).endswith(".")


GOOD = {"images": noise(3, 4, 4, 3), "labels": np.array([0, 1, 1]), "class_names": np.array(["cat", "dog"])}
DAMAGED_ARRAYS = {
    "no images": ({"images": None}, r"lacks images: it must hold images, but holds labels, class_names; write it"),
    "floats": ({"images": np.zeros((3, 4, 4, 3))}, r"images of .* must be uint8, 0 to 255, but they are float64; "),
    "bool": ({"images": np.zeros((3, 4, 4), bool)}, r"must be uint8, 0 to 255, but they are bool"),
    "one image": ({"images": noise(4, 4)}, r"shape \(n, h, w\), .* but it is \(4, 4\); reshape"),
    "four channels": ({"images": noise(3, 8, 8, 4)}, r"with 1 or 3 channels c, but it is \(3, 8, 8, 4\)"),
    "none": ({"images": noise(0, 4, 4), "labels": np.zeros(0, int)}, r"are empty, with the shape \(0, 4, 4\)"),
    "no pixels": ({"images": noise(3, 0, 4)}, r"are empty, with the shape \(3, 0, 4\)"),
    "too few labels": ({"labels": np.array([0, 1])}, r"one for each image, of shape \(3,\), but .* \(2,\); leave out"),
    "one-hot labels": ({"labels": np.eye(3)}, r"of shape \(3,\), but they have the shape \(3, 3\)"),
    "one label": ({"labels": np.array(1)}, r"of shape \(3,\), but they have the shape \(\)"),
    "negative label": ({"labels": np.array([0, 1, -1])}, r"must lie in 0 to 1, .* but that of image 2 is -1; "),
    "half a label": ({"labels": np.array([0, 0.5, 1])}, r"must be whole numbers, but that of image 1 is 0\.5; number"),
    "label NaN": ({"labels": np.array([0, 1, np.nan])}, r"must be whole numbers, but that of image 2 is nan"),
    "label infinity": ({"labels": np.array([0, 1, np.inf])}, r"must lie in 0 to 1, .* image 2 is inf"),
    "text labels": ({"labels": np.array(["cat", "dog", "dog"])}, r"whole numbers, but they are <U3; number the "),
    "label without a name": ({"labels": np.array([0, 2, 1])}, r"0 to 1, one of the 2 class names, .* image 1 is 2; "),
    "identifiers": ({"labels": np.array([0, 10**9, 1]), "class_names": None}, r"0 to 99,999, .* image 1 is 1000000000"),
    "overflow": ({"labels": np.array([0, 2**63, 1], np.uint64), "class_names": None}, r"1 is 9223372036854775808"),
    "names in a table": ({"class_names": np.array([["cat", "dog"]])}, r"one line of text for each class, .* \(1, 2\)"),
    "names of floats": ({"class_names": np.array([0.5, 1])}, r"one line of text for each class, but they are float64"),
    "no names": ({"class_names": np.array([], str)}, r"one line of text for each class"),
    "pickled images": ({"images": np.array([noise(4, 4), noise(5, 5)], object)}, r"images of .* is pickled, .*code"),
    "pickled names": ({"class_names": np.array(["cat", "dog"], object)}, r"class_names of .* is pickled, and "),
}


@pytest.mark.parametrize("kind", DAMAGED_ARRAYS)
def test_a_damaged_array_is_refused(tmp_path, kind):
    changes, said = DAMAGED_ARRAYS[kind]
    np.savez(tmp_path / "x.npz", **{name: values for name, values in (GOOD | changes).items() if values is not None})
    with pytest.raises(ValueError, match=said) as refused:
        data.images(tmp_path / "x.npz")
    assert str(tmp_path / "x.npz") in str(refused.value) and str(refused.value).endswith(".")


def no_archive(file):
    file.write_bytes(b"no archive")


def cut_off(file):
    np.savez(file, **GOOD)
    file.write_bytes(file.read_bytes()[:-40])


def flipped(file):
    """One byte of an array is another one: the checksum tells."""
    np.savez(file, images=noise(30, 8, 8))
    content = bytearray(file.read_bytes())
    content[800] ^= 255
    file.write_bytes(content)


def one_array(file):
    with file.open("wb") as handle:
        np.save(handle, GOOD["images"])


def no_array(file):
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("images", b"text")


@pytest.mark.parametrize("damage, said", [
    (no_archive, "is not a whole .npz archive"), (cut_off, "is not a whole .npz archive .*; write it again with"),
    (flipped, "array images .* cannot be read .*CRC"), (one_array, "is not a whole .npz archive"),
    (no_array, "must be uint8, 0 to 255, but they are"), (lambda file: file.touch(), "is not a whole .npz archive")])
def test_a_damaged_file_is_refused(tmp_path, damage, said):
    damage(tmp_path / "x.npz")
    with pytest.raises(ValueError, match=said):
        data.images(tmp_path / "x.npz")


def test_what_is_no_source_is_refused(tmp_path):
    save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png is neither; name one of them"):
        data.images(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"none\.npz does not exist"):
        data.images(tmp_path / "none.npz")
    with pytest.raises(TypeError, match="not from a Tensor"):
        data.images(torch.zeros(3, 1, 8, 8))


@pytest.mark.parametrize("size, said", [
    (0, "at least 1"), (-3, "at least 1"), (2.5, "whole number"), (True, "whole number"), ("8", "whole number"),
    ((8,), r"pair \(h, w\)"), ((8, 8, 3), r"pair \(h, w\)"), ((8, 0), "at least 1"), (10**9, "at most 8,192")])
def test_a_wrong_size_is_refused_before_anything_is_read(size, said):
    with pytest.raises(ValueError, match=said):
        data.images("does not exist", size=size)


def test_a_strip_is_not_stretched_until_the_memory_is_full(tmp_path):
    save(tmp_path / "strip.png", "L", (20_000, 1), 0)
    with pytest.raises(ValueError, match=r"strip\.png .* has 1 by 20000 pixels and would be scaled to 224 by 4480000 "):
        data.images(tmp_path, size=224)


WITHOUT_PILLOW = """
import sys
sys.modules["PIL"] = None       # what import finds of a package that is not there
from fragility import data
print(data.images(sys.argv[1] + "/x.npz", size=2).images.shape)
try:
    data.images(sys.argv[1])
except ValueError as error:
    print(error)
"""


def test_only_pictures_need_pillow(tmp_path):
    np.savez(tmp_path / "x.npz", images=noise(3, 4, 4))
    save(tmp_path / "a.png")
    done = subprocess.run([sys.executable, "-c", WITHOUT_PILLOW, tmp_path], capture_output=True, text=True, check=True)
    shape, sentence = done.stdout.strip().splitlines()
    assert shape == "torch.Size([3, 1, 2, 2])"
    assert sentence.endswith("read by Pillow, which is not installed; pip install 'fragility[audit]' brings it.")
