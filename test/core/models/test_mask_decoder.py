"""The pixel decoder and the mask decoder around transformers' Mask2Former."""

import math

import torch

from querydiff_core.models.attention import sine_position_embedding
from querydiff_core.models.mask_decoder import MaskDecoder, outside
from querydiff_core.models.pixel_decoder import PixelDecoder
from querydiff_core.models.refinement import IdentityRefinement

C, R, CLASSES = 32, 6, 4


def mask_decoder() -> MaskDecoder:
    torch.manual_seed(0)
    return MaskDecoder(C, R, CLASSES, layers=3, heads=2, feedforward=16).double()


def inputs() -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
    torch.manual_seed(1)
    maps = [torch.randn(2, C, h, w, dtype=torch.float64) for h, w in ((2, 3), (4, 6), (8, 12))]
    return torch.randn(2, R, C, dtype=torch.float64), torch.randn(2, C, 16, 24, dtype=torch.float64), maps


def test_training_sees_every_layer_and_inference_the_last() -> None:
    decoder = mask_decoder()
    masks, classes = decoder.train()(*inputs())
    assert [m.shape for m in masks] == [(2, R, 16, 24)] * 4
    assert [c.shape for c in classes] == [(2, R, CLASSES + 1)] * 4
    (last_masks,), (last_classes,) = decoder.eval()(*inputs())
    torch.testing.assert_close(last_masks, masks[-1])
    torch.testing.assert_close(last_classes, classes[-1])


def test_equals_transformers_own_way_through_its_layers() -> None:
    decoder, (queries, mask_features, maps) = mask_decoder().train(), inputs()
    masks, classes = decoder(queries, mask_features, maps)
    tokens = [feature.flatten(2).permute(2, 0, 1) for feature in maps]
    reference = decoder.decoder(
        inputs_embeds=queries.transpose(0, 1),
        multi_stage_positional_embeddings=[sine_position_embedding(f).flatten(2).permute(2, 0, 1) for f in maps],
        pixel_embeddings=mask_features,
        encoder_hidden_states=[t + level for t, level in zip(tokens, decoder.level_embedding, strict=True)],
        query_position_embeddings=decoder.position_embedding[:, None].expand(-1, 2, -1),
        feature_size_list=[feature.shape[-2:] for feature in maps],
        return_dict=True,
    )
    for ours, theirs in zip(masks, reference.masks_queries_logits, strict=True):
        torch.testing.assert_close(ours, theirs)
    for ours, state in zip(classes, reference.intermediate_hidden_states, strict=True):
        torch.testing.assert_close(ours, decoder.class_head(state.transpose(0, 1)))
    got, wanted = (
        torch.autograd.grad((m[-1] ** 2).sum(), list(decoder.decoder.parameters()))
        for m in (masks, reference.masks_queries_logits)
    )
    for (name, _), ours, theirs in zip(decoder.decoder.named_parameters(), got, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, msg=name)


def test_a_mask_that_is_absent_everywhere_hides_nothing() -> None:
    logits = torch.tensor([[[-1.0, 2.0, -3.0], [-1.0, -2.0, -3.0], [0.0, -1.0, 1.0]]])
    assert outside(logits).tolist() == [[[True, False, True], [False] * 3, [False, True, False]]]


def test_the_first_prediction_is_the_agent_queries_own() -> None:
    decoder = mask_decoder().train()
    queries, mask_features, maps = inputs()
    masks, classes = decoder(queries, mask_features, maps)
    normed = decoder.decoder.layernorm(queries)
    torch.testing.assert_close(classes[0], decoder.class_head(normed))
    embeddings = decoder.decoder.mask_predictor.mask_embedder(normed)
    torch.testing.assert_close(masks[0], torch.einsum("brc,bchw->brhw", embeddings, mask_features))


def test_permuted_queries_give_permuted_masks() -> None:
    decoder = mask_decoder().eval()
    queries, mask_features, maps = inputs()
    (masks,), (classes,) = decoder(queries, mask_features, maps)
    order = torch.randperm(R)
    with torch.no_grad():
        decoder.position_embedding.copy_(decoder.position_embedding[order])
    (permuted_masks,), (permuted_classes,) = decoder(queries[:, order], mask_features, maps)
    torch.testing.assert_close(permuted_masks, masks[:, order])
    torch.testing.assert_close(permuted_classes, classes[:, order])


def test_gradients_reach_the_queries_and_all_maps() -> None:
    queries, mask_features, maps = inputs()
    leaves = [tensor.requires_grad_() for tensor in (queries, mask_features, *maps)]
    (masks,), (classes,) = mask_decoder().eval()(queries, mask_features, maps)
    ((masks**2).sum() + (classes**2).sum()).backward()
    assert all(leaf.grad.abs().max() > 0 for leaf in leaves)


def test_position_embedding_is_detrs() -> None:
    height, width = 5, 7
    embedding = sine_position_embedding(torch.empty(2, 12, height, width, dtype=torch.float64))
    assert embedding.shape == (1, 12, height, width)
    for channel in range(12):
        for y, x in ((0, 0), (2, 5), (4, 6)):
            position = (y + 1) / height if channel < 6 else (x + 1) / width
            wave = math.sin if channel % 2 == 0 else math.cos
            expected = wave(2 * math.pi * position / 10_000 ** (channel % 6 // 2 * 2 / 6))
            assert math.isclose(embedding[0, channel, y, x].item(), expected, abs_tol=1e-6)


def test_pixel_decoder_gives_a_mask_feature_and_three_maps_coarse_to_fine() -> None:
    torch.manual_seed(0)
    decoder = PixelDecoder((3, 4, 5, 6), C, layers=1, heads=2, feedforward=16)
    features = [
        torch.randn(2, c, h, w) for c, (h, w) in zip((3, 4, 5, 6), ((17, 9), (9, 5), (5, 3), (3, 2)), strict=True)
    ]
    mask_feature, maps = decoder(features, torch.zeros(0), [IdentityRefinement()] * 4)
    assert mask_feature.shape == (2, C, 17, 9)
    assert [m.shape for m in maps] == [(2, C, 3, 2), (2, C, 5, 3), (2, C, 9, 5)]


def test_pixel_decoder_equals_transformers_own_way_through_its_layers() -> None:
    torch.manual_seed(0)
    decoder = PixelDecoder((3, 4, 5, 6), C, layers=2, heads=2, feedforward=16).double()
    for parameter in decoder.parameters():  # offsets and weights that depend on the pixel
        torch.nn.init.normal_(parameter, std=0.3)
    sizes = ((17, 9), (9, 5), (5, 3), (3, 2))
    features = [torch.randn(2, c, h, w, dtype=torch.float64) for c, (h, w) in zip((3, 4, 5, 6), sizes, strict=True)]
    mask_feature, maps = decoder(features, torch.zeros(0), [IdentityRefinement()] * 4)
    reference = decoder.decoder(features, output_attentions=False, output_hidden_states=False)
    # Its position embedding divides by the size and a millionth.
    torch.testing.assert_close(mask_feature, reference.mask_features, rtol=1e-4, atol=1e-4)
    for ours, theirs in zip(maps, reference.multi_scale_features, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_pixel_decoder_starts_from_finite_numbers_that_the_seed_fixes() -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(3)
        states.append(PixelDecoder((3, 4, 5, 6), C, layers=2, heads=4, feedforward=16).state_dict())
    for name, value in states[0].items():
        assert value.isfinite().all(), name
        torch.testing.assert_close(value, states[1][name], msg=name)
    offsets = states[0]["decoder.encoder.layers.1.self_attn.sampling_offsets.bias"].reshape(4, 3, 4, 2)
    # Four heads look right, down, left, up, one to four pixels far, at every level.
    right = torch.tensor([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [4.0, 0.0]])
    torch.testing.assert_close(offsets[0], right.expand(3, 4, 2))
    torch.testing.assert_close(offsets[2], -right.expand(3, 4, 2), atol=1e-5, rtol=0)
