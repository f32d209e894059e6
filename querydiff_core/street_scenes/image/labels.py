"""The trainIds that the street is drawn with, by name."""

(
    ROAD,
    SIDEWALK,
    BUILDING,
    WALL,
    FENCE,
    POLE,
    TRAFFIC_LIGHT,
    TRAFFIC_SIGN,
    VEGETATION,
    TERRAIN,
    SKY,
    PERSON,
    RIDER,
    CAR,
    TRUCK,
    BUS,
    TRAIN,
    MOTORCYCLE,
    BICYCLE,
) = range(19)

VOID = 255
"""What Cityscapes leaves unlabelled: the own bonnet, bins, benches."""

NOTHING = 254
"""Inside a sprite: this pixel leaves the label behind it as it is."""
